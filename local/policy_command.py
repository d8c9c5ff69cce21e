"""`python -m local policy …`: shows and changes the policy of a state directory.

The admin API calls the same functions; these commands only read files and print.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from chalicelib import strict_json
from chalicelib.admin import policy_service
from chalicelib.admin.errors import PolicyRefused
from chalicelib.admin.policy_service import PolicyUpload
from chalicelib.errors import Refusal, Unavailable
from chalicelib.http.messages import ADMIN_BODY_LIMIT
from chalicelib.issuers.jwks import Jwks, get_json
from chalicelib.policy import compile as policy
from chalicelib.policy import lint
from chalicelib.strict_json import JsonError, Rule
from local.machine import Machine
from local.practice import policy as practice


def add_to(commands: Any) -> None:  # noqa: ANN401  argparse has no public name for this type
    """Add the commands to a parser."""
    parser = commands.add_parser("policy", help="show or change the policy of a state directory")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, text in (
        ("validate", "check a policy file"),
        ("plan", "show what applying the file would change"),
        ("apply", "apply the file"),
        ("replay", "show which recorded requests the file would newly admit or refuse"),
    ):
        verb = verbs.add_parser(name, help=text)
        verb.add_argument("file", type=Path)
        verb.add_argument("--allow", action="append", default=[], choices=list(lint.RULES), metavar="RULE")
        if name != "validate":
            verb.add_argument("--state", type=Path, required=True, metavar="DIR")
    explain = verbs.add_parser("explain", help="show which grant admits a token's claims, and why the others do not")
    source = explain.add_mutually_exclusive_group(required=True)
    source.add_argument("--token", type=Path, metavar="FILE", help="file with a subject token")
    source.add_argument("--claims", type=Path, metavar="FILE", help="file with a JSON object of claims")
    explain.add_argument("--key", metavar="NAME", help="only grants for this key")
    explain.add_argument("--state", type=Path, required=True, metavar="DIR")
    verbs.add_parser("schema", help="print the JSON Schema of the policy file")


def run(options: argparse.Namespace) -> int:
    """Run one command and return its exit code: 0 success, 1 an error, or the policy was refused."""
    try:
        print(json.dumps(_run(options), indent=2), flush=True)
    except BrokenPipeError:
        # The reader closed the pipe, as in `… | head`; otherwise Python would report it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except PolicyRefused as refused:
        for error in refused.errors:
            location = f"{error['file']}:{error['line']}: {error['field'] or 'file'}"
            text = error.get("text") or f"found {error['found']}, allowed: {error['allowed']}"
            rule = f" [{error['rule']}]" if "rule" in error else ""
            print(f"error: {location}: {text}{rule}", file=sys.stderr)
        return 1
    except Unavailable as fault:
        hint = f" ({fault.hint})" if fault.hint else ""
        print(f"error: cannot use the state directory: {fault.reason}{hint}", file=sys.stderr)
        return 1
    except Refusal as refused:
        print(f"error: {refused.description or refused.reason}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace) -> object:
    if options.verb == "schema":
        return policy.json_schema()
    if options.verb == "validate":
        parsed = policy_service.validate(_upload(options), practice.rules("http://127.0.0.1"))
        return {"keys": len(parsed.keys), "issuers": len(parsed.issuers), "grants": len(parsed.grants)}
    machine = Machine.open(options.state)
    control, rules = machine.control(), machine.rules()
    if options.verb == "plan":
        return policy_service.plan(_upload(options), control, rules).to_json()
    if options.verb == "replay":
        return policy_service.replay(_upload(options), control, rules, machine.ledger(), lambda: int(time.time()))
    if options.verb == "explain":
        fields: dict[str, object] = {"key": options.key}
        if options.token:
            fields["token"] = _text(options.token).strip()
        else:
            fields["claims"] = _claims(options.claims)
        keys = Jwks(get_json, loopback=True)
        return policy_service.explain(fields, control.current(), rules, keys, int(time.time()))
    event = machine.event("policy.applied", {"file": str(options.file)})
    stored = policy_service.apply(_upload(options), control.current().version, control, rules, event)
    return {"version": stored.version}


def _upload(options: argparse.Namespace) -> PolicyUpload:
    return PolicyUpload(_text(options.file), str(options.file), tuple(options.allow))


def _claims(path: Path) -> object:
    try:
        return strict_json.parse(_text(path).encode("utf-8"))
    except JsonError as error:
        raise ValueError(f"{path}: {'' if error.rule is Rule.NAMES else 'not JSON: '}{error}") from None


def _text(path: Path) -> str:
    """Return a file's text, whole; raises OSError or ValueError."""
    with path.open("rb") as file:
        read = file.read(ADMIN_BODY_LIMIT + 1)
    if len(read) > ADMIN_BODY_LIMIT:
        raise ValueError(f"{path}: over {ADMIN_BODY_LIMIT} bytes")
    try:
        return read.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise ValueError(f"{path}: not UTF-8: {fault}") from None
