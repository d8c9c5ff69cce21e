"""`python -m local state …`: backs up, restores, checks, seals and compacts a state directory.

stdout is for data, one JSON object; messages go to stderr. Exit codes: 0 success, 1 an error, of which one line says what
it is, and nothing was changed.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from chalicelib.errors import StateUnavailable, Unavailable
from local import directory_lock, federation_command, sealing, state_backup, state_restore, state_seal
from local.errors import PassphraseUnusable
from local.machine import Machine
from local.passphrase import Passphrase
from local.sealing import FILE_VARIABLE, KMS_VARIABLE, Sealing
from local.sqlite import shrink, snapshot


def add_to(commands: Any) -> None:  # noqa: ANN401  argparse has no public name for this type
    """Add the commands to a parser."""
    parser = commands.add_parser("state", help="back up, restore, check, seal or compact a state directory")
    verbs = parser.add_subparsers(dest="verb", required=True)
    backup = verbs.add_parser("backup", help="write all of it to one new file, mode 0600, while it serves or not")
    restore = verbs.add_parser("restore", help="put a backup in its place; no token from before is valid afterwards")
    check = verbs.add_parser("check", help="read all of a backup, or of a state directory, and change nothing")
    seal = verbs.add_parser("seal", help="encrypt the keys anew, by what is named here or else in the environment")
    compact = verbs.add_parser(
        "compact", help="give all free space of the state back to the disk; the server is stopped"
    )
    unseal = verbs.add_parser("unseal", help="store the keys in the clear again")
    for verb in (backup, restore):
        verb.add_argument("file", type=Path, metavar="FILE", help="the backup: it holds keys, as the directory does")
        verb.add_argument("--state", type=Path, required=True, metavar="DIR")
    by = seal.add_mutually_exclusive_group()
    by.add_argument("--passphrase-file", type=Path, metavar="FILE", help="a file of mode 0600 with the new passphrase")
    by.add_argument("--kms-key", metavar="ARN", help="the ARN of a symmetric KMS key")
    for verb in (seal, unseal, compact):
        verb.add_argument("--state", type=Path, required=True, metavar="DIR")
    federation_command.add_to(verbs)
    one = check.add_mutually_exclusive_group(required=True)
    one.add_argument("file", type=Path, nargs="?", metavar="FILE", help="a backup")
    one.add_argument("--state", type=Path, metavar="DIR")


def run(options: argparse.Namespace) -> int:
    """Run one command and return its exit code."""
    try:
        found = _VERBS[options.verb](options)
        print(json.dumps(found, indent=2), flush=True)
    except Unavailable as fault:
        hint = f" ({fault.hint})" if fault.hint else ""
        return _fail(f"{fault.reason}{hint}")
    except (OSError, ValueError) as fault:
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
    if done.state.newer:
        _warn(
            "the state that was replaced is of a newer Keybroker: what only that one knows is lost, so look what it refused"
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
        with state_backup.scratch_beside(options.file) as scratch:
            manifest = state_backup.check_backup(options.file, scratch)
        return {"file": str(options.file), "taken": manifest.taken, "schema": manifest.schema, "usable": True}
    machine = Machine.open(options.state)
    with snapshot.moment(machine.state_file()) as connection:
        snapshot.check(connection)
    state_backup.check_files(options.state)
    state_backup.check_values(machine)
    size = sum(one.stat().st_size for one in options.state.glob("state.db*"))
    sealed_by = state_seal.sealed_by(options.state)
    return {"state": str(options.state), "bytes": size, "sealed_by": sealed_by, "usable": True}


def _seal(options: argparse.Namespace) -> object:
    by: Sealing | None
    if options.passphrase_file:
        by, start = Passphrase.read(options.passphrase_file), f"{FILE_VARIABLE}={options.passphrase_file}"
    elif options.kms_key:
        by, start = sealing.kms(options.kms_key), f"{KMS_VARIABLE}={options.kms_key}"
    else:
        by, start = sealing.named(), ""
    if by is None:
        raise PassphraseUnusable(hint=f"name --passphrase-file, --kms-key, {FILE_VARIABLE} or {KMS_VARIABLE}")
    done = _sealed(options, by)
    if start:
        _warn(f"from now on every start needs {start}, and nothing else of the kind")
    return done


def _unseal(options: argparse.Namespace) -> object:
    done = _sealed(options, None)
    if sealing.named() is not None:
        _warn(f"the next start seals them again while {FILE_VARIABLE} or {KMS_VARIABLE} is set")
    return done


def _sealed(options: argparse.Namespace, by: Sealing | None) -> object:
    done = state_seal.seal(Machine.open(options.state), by)
    for copy in done.copies:
        _warn(f"{copy} holds the keys as they were: delete it, and old backups")
    return {"state": str(options.state), "sealed_by": by.kind if by else None, "files": list(done.files)}


def _compact(options: argparse.Namespace) -> object:
    machine = Machine.open(options.state)
    directory_lock.hold(options.state)
    state = machine.state_file()
    state.close()
    before = state.path.stat().st_size
    try:
        shrink.compact(state.path)
    except sqlite3.Error as error:
        raise StateUnavailable(hint=str(error)) from error
    return {"state": str(options.state), "bytes_before": before, "bytes": state.path.stat().st_size}


_VERBS = {
    "backup": _backup,
    "restore": _restore,
    "check": _check,
    "seal": _seal,
    "unseal": _unseal,
    "compact": _compact,
    **federation_command.VERBS,
}


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def _fail(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 1
