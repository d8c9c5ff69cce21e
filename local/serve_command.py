"""`python -m local serve`, which `keybroker serve` runs: what the server is told, and what it says once it serves.

stdout is for data: with --json, one line. Exit codes: 0 stopped by a signal, or checked; 1 an error in the configuration,
the policy, a file or an address, each in one line; 2 options that do not go together.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib.errors import Unavailable
from chalicelib.policy.compile import InvalidPolicyError
from chalicelib.tokens import verify as tokens
from local import configuration, configuration_values
from local.addresses import Listen
from local.configuration import Configuration, Door, InvalidConfigurationError, Practice

if TYPE_CHECKING:
    from local.serve import Running

_LOOPBACK = "127.0.0.1"
_IN_FILE = ("state", "port", "policy", "workers", "keep_records", "revocation_probe", "provider_timeout", "metrics")
"""Options that say what a configuration file says, which is said once."""


def add_to(commands: Any, *, installed: bool) -> None:  # noqa: ANN401  argparse has no public name for this type
    """Add the command to a parser. installed: whether this is `keybroker serve`, where practice has to be asked for."""
    server = commands.add_parser("serve", help="run the broker, the edge and the administration until SIGTERM")
    server.set_defaults(installed=installed, parser=server)
    add = server.add_argument
    add("--config", type=Path, metavar="FILE", help="the configuration file, keybroker.toml (docs/self-host.md)")
    add("--check", action="store_true", help="read everything that a start would, say what is wrong, and start nothing")
    add("--state", type=Path, metavar="DIR", help="state directory (default: a temporary one, deleted at the end)")
    add(
        "--port",
        type=_port,
        metavar="N",
        help="the broker's port (default: 8080); edge N+1, practice parts N+2 and N+3",
    )
    add("--policy", type=Path, metavar="FILE", help="the first policy; a policy in force stays, unless --apply")
    add("--apply", action="store_true", help="put the policy's file in force over the policy in force")
    add("--workers", type=_count, metavar="W", help="worker processes for broker and edge (default: 1)")
    add("--public-url", type=_url, metavar="URL", help="the broker's URL as callers have it")
    add("--public-edge-url", type=_url, metavar="URL", help="the edge's URL as callers have it")
    text = "days that audit events, replaced policies and ended revocations are kept, 7 or more (default: for good)"
    add("--keep-records", type=_days, metavar="DAYS", help=text)
    text = "how often it is measured how long a revocation takes (default: 300; 0: never)"
    add("--revocation-probe", type=_pause, metavar="SECONDS", help=text)
    add("--practice-ttl", type=_ttl, metavar="SECONDS", help="lifetime of tokens, to test expiry")
    practice = server.add_mutually_exclusive_group()
    practice.add_argument(
        "--practice", action="store_true", default=None, help="run a made-up provider and issuer, with made-up keys"
    )
    practice.add_argument(
        "--no-practice", action="store_true", help="use real keys and real providers; see --set-keys for the keys"
    )
    text = "put the keys in KEYBROKER_KEY_<NAME> in force over others; without it, only those that were never set"
    add("--set-keys", action="store_true", help=text)
    add("--json", action="store_true", help="print one line of JSON to stdout when all parts respond")
    add("--metrics", type=_loopback, metavar="ADDRESS:PORT", help="where /metrics is answered (default: nowhere)")
    text = (
        "how long a provider may be silent before its answer and within it, 1 to 3600"
        " (default: any time; with the practice parts 120, as on AWS)"
    )
    add("--provider-timeout", type=_seconds, metavar="SECONDS", help=text)


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    practising = _practising(options)
    _check_words(options, practising=practising)
    from local import check, serve, stage_command  # noqa: PLC0415  they take nearly a second, which would delay other commands

    try:
        told = _configuration(options, practising=practising)
        if told.tables:
            return stage_command.run(told, told.tables, options)
        if options.check:
            return check.report(told)
        serve.serve(told, _announce_json if options.json else _announce)
    except (InvalidPolicyError, InvalidConfigurationError) as error:
        for fault in error.faults:
            print(f"error: {fault}", file=sys.stderr)
        return 1
    except (Unavailable, OSError) as fault:
        return not_started(fault)
    return 0


def not_started(fault: Unavailable | OSError) -> int:
    """Say in one line why a server did not start, and return the exit code."""
    hint = f" ({fault.hint})" if isinstance(fault, Unavailable) and fault.hint else ""
    why = f"cannot start: {fault.reason}{hint}" if isinstance(fault, Unavailable) else fault
    print(f"error: {why}", file=sys.stderr)
    return 1


def _practising(options: argparse.Namespace) -> bool:
    if options.practice or options.no_practice:
        return bool(options.practice)
    return not (options.installed or options.config)


def _check_words(options: argparse.Namespace, *, practising: bool) -> None:
    """End the program with code 2 for options that do not go together."""
    twice = [
        f"--{name.replace('_', '-')}" for name in _IN_FILE if options.config and getattr(options, name) is not None
    ]
    if twice:
        options.parser.error(f"{', '.join(twice)}: say that in the configuration file, {options.config}")
    if options.apply and not (options.policy or options.config):
        options.parser.error("--apply needs --policy FILE")
    if options.set_keys and practising:
        options.parser.error("--set-keys needs --no-practice: the practice parts make up their keys")
    if options.installed and not (options.config or options.state or practising):
        options.parser.error("name --config FILE, which `keybroker init DIR` makes, or --state DIR, or --practice")


def _configuration(options: argparse.Namespace, *, practising: bool) -> Configuration:
    """Return what the server is told; raises InvalidConfigurationError or OSError."""
    first = options.port if options.port is not None else 0 if options.config else 8080

    def listen(offset: int) -> Listen:
        return Listen(_LOOPBACK, first + offset if first else 0)

    if options.config:
        told = configuration.read(options.config)
    else:
        told = Configuration(
            broker=Door(listen(0)),
            edge=Door(listen(1)),
            state=options.state,
            policy=options.policy,
            workers=options.workers or 1,
            keep_records=options.keep_records,
            revocation_probe=300 if options.revocation_probe is None else options.revocation_probe,
            provider_timeout=options.provider_timeout,
            metrics=options.metrics,
        )
    return replace(
        told,
        broker=replace(told.broker, public_url=options.public_url or told.broker.public_url),
        edge=replace(told.edge, public_url=options.public_edge_url or told.edge.public_url),
        practice=Practice(listen(2), listen(3), options.practice_ttl) if practising else None,
        apply=options.apply,
        set_keys=options.set_keys,
    )


def _announce_json(running: Running) -> None:
    urls = running.urls
    line = {
        "broker": urls.broker,
        "edge": urls.edge,
        "provider": urls.provider,
        "issuer": urls.issuer,
        "administration": running.administration or urls.broker,
        "admin": running.admin,
        "state": str(running.directory),
        "request_token": running.request_token,
        "keys_not_set": list(running.keys_not_set),
    }
    _warn(running)
    print(json.dumps({**line, **({"metrics": running.metrics} if running.metrics else {})}), flush=True)


def _announce(running: Running) -> None:
    urls = running.urls
    _warn(running)
    parts = {
        "broker": urls.broker,
        "edge": urls.edge,
        "administration": running.administration,
        "provider": urls.provider,
        "issuer": urls.issuer,
        "metrics": running.metrics,
        "state": f"{running.directory}",
        "admin": running.admin and running.admin.get("file"),
    }
    for name, shown in parts.items():
        if shown:
            print(f"{name:>14}  {shown}", file=sys.stderr)
    names = ", ".join(running.keys_not_set)
    missing = f", but these keys are not set (keybroker keys set NAME): {names}" if names else ""
    print(f"ready{missing}; press Ctrl-C to stop", file=sys.stderr)


def _warn(running: Running) -> None:
    log = logging.getLogger("keybroker")
    if running.urls.provider:
        log.warning(
            "PRACTICE: all keys are made up, all calls go to the practice provider, and its issuer signs any claims"
        )
    elif running.is_temporary:
        log.warning("the state is in a temporary directory, and is deleted at the end: name another with --state DIR")


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


def _pause(text: str) -> int:
    return _number(text, 0 if text == "0" else 5, 86400)


def _seconds(text: str) -> int:
    return _number(text, 1, 3600)


def _ttl(text: str) -> int:
    return _number(text, 1, tokens.TTL_CEILING)


def _loopback(text: str) -> Listen:
    try:
        listen = configuration_values.address(text, Path())
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be {error}, not {text!r}") from None
    if not listen.is_loopback:
        raise argparse.ArgumentTypeError(f"must be a loopback address, not {text!r}; a configuration file may say more")
    return listen


def _url(text: str) -> str:
    try:
        return configuration_values.public_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be {error}, not {text!r}") from None
