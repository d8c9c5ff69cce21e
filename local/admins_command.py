"""`python -m local admins …`: adds, lists and removes the administrators of a state directory, while it serves or not."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from chalicelib.errors import Unavailable
from local.administrators import Administrator, Administrators
from local.machine import Machine


def add_to(commands: Any) -> None:  # noqa: ANN401  argparse has no public name for this type
    """Add the commands to a parser."""
    parser = commands.add_parser("admins", help="add, list or remove the administrators of a state directory")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, text in (
        ("add", "add an administrator; the secret is in a file that the answer names, mode 0600"),
        ("list", "list the administrators, without their secrets"),
        ("remove", "remove an administrator, who is refused from the next call on"),
    ):
        verb = verbs.add_parser(name, help=text)
        if name != "list":
            verb.add_argument("name", metavar="NAME", help="what the audit calls the administrator, e.g. ada")
        verb.add_argument("--state", type=Path, required=True, metavar="DIR")


def run(options: argparse.Namespace) -> int:
    """Run one command and return its exit code: 0 success, 1 an error."""
    try:
        machine = Machine.open(options.state)
        print(json.dumps(_run(options, machine, machine.administrators()), indent=2), flush=True)
    except Unavailable as fault:
        hint = f" ({fault.hint})" if fault.hint else ""
        print(f"error: {fault.reason}{hint}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace, machine: Machine, administrators: Administrators) -> object:
    if options.verb == "list":
        return [_shown(one) for one in administrators.all()]
    ledger = machine.ledger()
    if options.verb == "add":
        added = administrators.add(options.name)
        try:
            ledger.record(machine.event("admin.added", {"name": added.name, "access_key_id": added.access_key_id}))
        except Unavailable:
            administrators.remove(added.name)  # nobody administers whom the audit does not name
            raise
        return _shown(added)
    administrators.remove(options.name)
    if not administrators.files():
        print("no administrator is left: add one, or the next start makes one", file=sys.stderr)
    # After the fact: what the audit cannot take must not keep a person in.
    ledger.record(machine.event("admin.removed", {"name": options.name}))
    return {"removed": options.name}


def _shown(one: Administrator | Unavailable) -> dict[str, object]:
    if isinstance(one, Unavailable):
        return {"error": one.reason, "file": one.hint}
    return {"name": one.name, "access_key_id": one.access_key_id, "created": one.created, "file": str(one.file)}
