"""The commands of `python -m local`, Keybroker on one machine; `keybroker serve` and others run them with `--installed`.

stdout is for data (with --json, one line); messages go to stderr, in lower case and without a full stop.
Exit codes: 0 success, 1 an error in the command, the policy or a file. For the demo's, see local/demo/run.py.
"""

from __future__ import annotations

import argparse

from local import (
    admins_command,
    audit_command,
    gateway_command,
    init_command,
    policy_command,
    serve_command,
    state_command,
)

_COMMANDS = {
    "policy": policy_command.run,
    "audit": audit_command.run,
    "admins": admins_command.run,
    "gateway": gateway_command.run,
    "state": state_command.run,
    "init": init_command.run,
    "serve": serve_command.run,
}


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    installed = arguments[:1] == ["--installed"]
    options = _parser(installed=installed).parse_args(arguments[installed:])
    if options.command == "demo":
        from local.demo import run as demo  # noqa: PLC0415  it imports an SDK that `serve` does not need

        return demo.main()
    return _COMMANDS[options.command](options)


def _parser(*, installed: bool) -> argparse.ArgumentParser:
    program = "keybroker" if installed else "python -m local"
    parser = argparse.ArgumentParser(prog=program, description="Keybroker on one machine, no cloud account.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="run the main scenario, check each step and exit")
    policy_command.add_to(commands)
    audit_command.add_to(commands)
    admins_command.add_to(commands)
    gateway_command.add_to(commands)
    state_command.add_to(commands)
    init_command.add_to(commands)
    serve_command.add_to(commands, installed=installed)
    return parser
