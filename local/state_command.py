"""`python -m local state …`: backs up, restores and checks a state directory.

stdout is for data, one JSON object; messages go to stderr. Exit codes: 0 success, 1 an error, of which one line says what
it is, and nothing was changed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from chalicelib.errors import Unavailable
from local import state_backup, state_restore
from local.machine import Machine
from local.sqlite import snapshot


def add_to(commands: Any) -> None:  # noqa: ANN401  argparse has no public name for this type
    """Add the commands to a parser."""
    parser = commands.add_parser("state", help="back up, restore or check a state directory")
    verbs = parser.add_subparsers(dest="verb", required=True)
    backup = verbs.add_parser("backup", help="write all of it to one new file, mode 0600, while it serves or not")
    restore = verbs.add_parser("restore", help="put a backup in its place; no token from before is valid afterwards")
    check = verbs.add_parser("check", help="read all of a backup, or of a state directory, and change nothing")
    for verb in (backup, restore):
        verb.add_argument("file", type=Path, metavar="FILE", help="the backup: it holds keys, as the directory does")
        verb.add_argument("--state", type=Path, required=True, metavar="DIR")
    one = check.add_mutually_exclusive_group(required=True)
    one.add_argument("file", type=Path, nargs="?", metavar="FILE", help="a backup")
    one.add_argument("--state", type=Path, metavar="DIR")


def run(options: argparse.Namespace) -> int:
    """Run one command and return its exit code."""
    try:
        found = {"backup": _backup, "restore": _restore, "check": _check}[options.verb](options)
        print(json.dumps(found, indent=2), flush=True)
    except Unavailable as fault:
        hint = f" ({fault.hint})" if fault.hint else ""
        return _fail(f"{fault.reason}{hint}")
    except OSError as fault:
        return _fail(str(fault))
    return 0


def _backup(options: argparse.Namespace) -> object:
    now = int(time.time())
    size = state_backup.back_up(Machine.open(options.state), options.file, now)
    return {"file": str(options.file), "bytes": size, "taken": now}


def _restore(options: argparse.Namespace) -> object:
    done = state_restore.restore(options.file, options.state, time.time_ns() // 1_000_000)
    carried = done.state.carried
    if done.replaced and carried is None:
        _warn(
            "the state that was replaced could not be read, or is another installation's: repeat the revocations since"
        )
    if not done.replaced:
        _warn(
            "nothing is known of what came after the backup: repeat the revocations since, and remove administrators who left"
        )
    if done.state.was > done.state.policy:
        _warn(f"the policy is version {done.state.policy} again, and was {done.state.was}: apply the newer one")
    for name in done.state.keys:
        _warn(f"the key {name} has its value of then: set the newer one")
    return {
        "state": str(options.state),
        "taken": done.taken,
        "epoch": done.state.epoch,
        "carried_over": carried._asdict() if carried else None,
        "administrators": list(done.administrators),
        "kept_aside": str(done.aside) if done.replaced else None,
    }


def _check(options: argparse.Namespace) -> object:
    if options.file:
        with tempfile.TemporaryDirectory(prefix=".keybroker-check-", dir=options.file.absolute().parent) as scratch:
            manifest = state_backup.check_backup(options.file, Path(scratch))
        return {"file": str(options.file), "taken": manifest.taken, "schema": manifest.schema, "usable": True}
    machine = Machine.open(options.state)
    state_backup.check_owner(options.state)
    with snapshot.moment(machine.state_file()) as connection:
        snapshot.check(connection)
    state_backup.check_files(options.state)
    size = sum(one.stat().st_size for one in options.state.glob("state.db*"))
    return {"state": str(options.state), "bytes": size, "usable": True}


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def _fail(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 1
