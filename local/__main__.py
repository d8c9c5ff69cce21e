"""`python -m local`: Keybroker on one machine.

stdout is for data (with --json, one line); messages go to stderr, in lower case and without a full stop.
Exit codes: 0 success, 1 an error in the command, the policy or a file. For the demo's, see local/demo/run.py.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from chalicelib.errors import Unavailable
from chalicelib.policy.compile import InvalidPolicyError
from chalicelib.tokens import verify as tokens
from local import admins_command, audit_command, gateway_command, policy_command, state_command

if TYPE_CHECKING:
    from local.serve import Running

_COMMANDS = {
    "policy": policy_command.run,
    "audit": audit_command.run,
    "admins": admins_command.run,
    "gateway": gateway_command.run,
    "state": state_command.run,
}


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    options = _parse(arguments)
    if options.command == "demo":
        from local.demo import run as demo  # noqa: PLC0415  it imports an SDK that `serve` does not need

        return demo.main()
    if options.command in _COMMANDS:
        return _COMMANDS[options.command](options)
    from local.serve import Settings, serve  # noqa: PLC0415  it takes nearly a second, which would delay the demo

    settings = Settings(
        directory=options.state,
        port=options.port,
        policy=options.policy,
        workers=options.workers,
        practice_ttl=options.practice_ttl,
        practice=not options.no_practice,
        apply=options.apply,
        set_keys=options.set_keys,
        keep_records=options.keep_records,
        provider_timeout=options.provider_timeout,
    )
    try:
        serve(settings, _announce_json if options.json else _announce)
    except InvalidPolicyError as error:
        for fault in error.faults:
            print(f"error: {fault}", file=sys.stderr)
        return 1
    except Unavailable as fault:
        print(f"error: cannot start: {fault.reason} ({fault.hint or 'see above'})", file=sys.stderr)
        return 1
    except OSError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "serve" and options.apply and not options.policy:
        parser.error("--apply needs --policy FILE")
    if options.command == "serve" and options.set_keys and not options.no_practice:
        parser.error("--set-keys needs --no-practice: the practice parts make up their keys")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="Keybroker on one machine, no cloud account.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="run the main scenario, check each step and exit")
    policy_command.add_to(commands)
    audit_command.add_to(commands)
    admins_command.add_to(commands)
    gateway_command.add_to(commands)
    state_command.add_to(commands)
    _add_serve(commands.add_parser("serve", help="run the broker, the edge and the practice parts until SIGTERM"))
    return parser


def _add_serve(server: argparse.ArgumentParser) -> None:
    server.add_argument(
        "--state", type=Path, metavar="DIR", help="state directory (default: a temporary one, deleted at the end)"
    )
    server.add_argument(
        "--port",
        type=_port,
        default=8080,
        metavar="N",
        help="the broker's port; edge N+1, provider N+2, issuer N+3; 0: any free ports",
    )
    server.add_argument(
        "--policy",
        type=Path,
        metavar="FILE",
        help="the first policy; over a policy in force it is passed over, unless --apply (default: the practice policy)",
    )
    server.add_argument("--apply", action="store_true", help="put --policy FILE in force over the policy in force")
    server.add_argument("--workers", type=_count, default=1, metavar="W", help="worker processes for broker and edge")
    server.add_argument(
        "--keep-records",
        type=_days,
        metavar="DAYS",
        help="days that audit events, replaced policies and ended revocations are kept, 7 or more (default: for good)",
    )
    server.add_argument("--practice-ttl", type=_ttl, metavar="SECONDS", help="lifetime of tokens, to test expiry")
    server.add_argument(
        "--no-practice", action="store_true", help="use real keys and real providers; see --set-keys for the keys"
    )
    server.add_argument(
        "--set-keys",
        action="store_true",
        help="put the keys in KEYBROKER_KEY_<NAME> in force over others; without it, only those that were never set",
    )
    server.add_argument("--json", action="store_true", help="print one line of JSON to stdout when all parts respond")
    _add_provider_timeout(server)


def _add_provider_timeout(server: argparse.ArgumentParser) -> None:
    server.add_argument(
        "--provider-timeout",
        type=_seconds,
        metavar="SECONDS",
        help="how long a provider may be silent before its answer and within it, 1 to 3600"
        " (default: any time; with the practice parts 120, as on AWS)",
    )


def _announce_json(running: Running) -> None:
    urls = running.urls
    line = {
        "broker": urls.broker,
        "edge": urls.edge,
        "provider": urls.provider,
        "issuer": urls.issuer,
        "admin": running.admin,
        "state": str(running.directory),
        "request_token": running.request_token,
    }
    _warn(running)
    print(json.dumps(line), flush=True)


def _announce(running: Running) -> None:
    urls = running.urls
    _warn(running)
    parts = {"broker": urls.broker, "edge": urls.edge, "provider": urls.provider, "issuer": urls.issuer}
    for name, url in parts.items():
        if url:
            print(f"{name:>9}  {url}", file=sys.stderr)
    print(f"{'state':>9}  {running.directory}", file=sys.stderr)
    if running.admin and "file" in running.admin:
        print(f"{'admin':>9}  {running.admin['file']}", file=sys.stderr)
    print("ready; press Ctrl-C to stop", file=sys.stderr)


def _warn(running: Running) -> None:
    if running.urls.provider:
        text = "PRACTICE: all keys are made up, all calls go to the practice provider, and its issuer signs any claims"
        logging.getLogger("keybroker").warning(text)


def _number(text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, not {text!r}")
    return int(text)


def _port(text: str) -> int:
    return _number(text, 0, 65532)


def _count(text: str) -> int:
    return _number(text, 1, 64)


def _days(text: str) -> int:
    return _number(text, 7, 36500)


def _seconds(text: str) -> int:
    return _number(text, 1, 3600)


def _ttl(text: str) -> int:
    return _number(text, 1, tokens.TTL_CEILING)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
