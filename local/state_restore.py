"""Restores a state directory from a backup: checked wholly before anything is replaced, and safe to serve afterwards."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from local import directory_lock, restoring, state_directory
from local.administrators import Administrators
from local.errors import BackupUnusable
from local.machine import Machine
from local.sqlite import restored, snapshot
from local.sqlite.restored import Restored
from local.sqlite.state_file import StateFile
from local.state_backup import check_backup
from local.state_directory import check_owner


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a restore did. taken: when the backup was made. aside: where the replaced files are; None: there were none."""

    taken: int
    state: Restored
    aside: Path | None
    administrators: tuple[str, ...]
    replaced: bool


def restore(path: Path, directory: Path, now_ms: int) -> Outcome:
    """Put a backup in a state directory's place, made if it is not there; no server may use it.

    Raises Unavailable or OSError, and then the directory is as it was; StateInUse while anything uses it.
    """
    made = not directory.exists()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_owner(directory)
    directory_lock.hold(directory)
    state_directory.check_modes(directory)
    restoring.finish(directory)
    state_directory.remove_leftovers(directory)
    try:
        with restoring.made_ready(directory, "restore") as coming:
            return _restore(path, directory, coming, now_ms)
    finally:
        if made and not any(directory.iterdir()):
            directory.rmdir()


def _restore(path: Path, directory: Path, coming: Path, now_ms: int) -> Outcome:
    manifest = check_backup(path, coming)
    if now_ms < manifest.taken * 1000:
        # SECURITY: the time is what puts the epoch above all that was counted since (test_a_clock_of_the_past).
        raise BackupUnusable(hint="it was taken later than this machine's clock says it is now: set the clock")
    StateFile.create(coming / "state.db").close()  # brings an older one up to date
    replaced = (directory / "state.db").exists()
    with snapshot.taken_out_of_use(directory / "state.db") as old:
        event = Machine.open(coming).event(
            "state.restored", {"file": str(path.absolute())[:300], "taken": str(manifest.taken)}
        )
        state = StateFile(coming / "state.db")
        found = restored.make_safe(state, old, now_ms, event)
        state.close()
        _keep_present(directory, coming)
        snapshot.check_file(coming / "state.db")
        restoring.begin(directory, coming, time.strftime("before-restore-%Y%m%dT%H%M%SZ", time.gmtime(now_ms / 1000)))
        aside = restoring.finish(directory)
    names = tuple(Administrators(directory, practising=False).files())
    return Outcome(manifest.taken, found, aside, names, replaced)


def _keep_present(directory: Path, coming: Path) -> None:
    """Leave out of what is to come what the directory has and a backup must not bring back."""
    # SECURITY: an administrator who was removed since would be one again (test_a_removed_administrator_stays_out).
    if Administrators(directory, practising=False).files():
        (coming / "admin.json").unlink(missing_ok=True)
        shutil.rmtree(coming / "admins", ignore_errors=True)
    if (directory / "urls.json").exists():
        (coming / "urls.json").unlink(missing_ok=True)
