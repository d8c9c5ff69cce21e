"""Replaces several files of a state directory: all of them, or finished by the next start.

`restoring/` in the state directory holds what is to come, of a backup or a seal; once it is there, nothing but to finish is
left. Each file is replaced at once; the old ones of a restore are kept in `before-restore-…/`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from local.secret_file import sync

_COMING = "restoring"
_ASIDE = "aside"
"""In the directory of what is to come: the name of the directory for the old files, nothing if they are not kept."""
_SCRATCH = (".restore-", ".seal-")
"""What the names of directories begin with in which something is made ready to come."""
_BESIDE = ("state.db-wal", "state.db-shm", "state.db-journal")


def is_unfinished(directory: Path) -> bool:
    """Whether a restore or a seal was cut off when nothing but to finish it was left."""
    return (directory / _COMING).is_dir()


def remove_leftovers(directory: Path) -> None:
    """Remove what commands that were killed had made ready, keys included; the caller holds the directory."""
    for prefix in _SCRATCH:
        for left in directory.glob(f"{prefix}*"):
            shutil.rmtree(left)


@contextlib.contextmanager
def made_ready(directory: Path, kind: str) -> Iterator[Path]:
    """Make an empty directory, mode 0700, for what is to come. kind: `restore` or `seal`."""
    with tempfile.TemporaryDirectory(prefix=f".{kind}-", dir=directory) as scratch:
        coming = Path(scratch) / "new"
        coming.mkdir(mode=0o700)
        yield coming


def begin(directory: Path, coming: Path, aside: str) -> None:
    """Decide for what is to come: from here on what it replaces is not used again.

    aside: a name for the old files; "": they are not kept.
    """
    _write(coming / _ASIDE, aside)
    _sync_all(coming)
    coming.rename(directory / _COMING)
    sync(directory)


def finish(directory: Path) -> Path | None:
    """Finish what was begun, if anything, and return where the old files are, if kept; the caller holds the directory."""
    coming, aside = directory / _COMING, None
    if not coming.is_dir():
        return None
    if (coming / _ASIDE).exists():  # otherwise only the empty directory is left
        name = (coming / _ASIDE).read_text(encoding="utf-8")
        aside = directory / name if name else None
        _move(coming, directory, aside)
        (coming / _ASIDE).unlink()
    for one in [*(one for one in coming.iterdir() if one.is_dir()), coming]:
        one.rmdir()
    sync(directory)
    return aside


def _move(coming: Path, directory: Path, aside: Path | None) -> None:
    if aside is not None:
        aside.mkdir(mode=0o700, exist_ok=True)
        if (coming / "state.db").exists():
            # SECURITY: SQLite would mix an old log into the new file. Once that is there, the log beside it is its own
            # (test_a_restore_that_is_killed_is_finished).
            for name in _BESIDE:
                if (directory / name).exists():
                    (directory / name).rename(aside / name)
    # The state last: what is served needs the other files beside it.
    for new in sorted(_files(coming), key=lambda one: one.name == "state.db"):
        where = new.relative_to(coming)
        _replace(new, directory / where, aside / where if aside else None)
    if aside is not None:
        _sync_all(aside)
    sync(directory)


def _replace(new: Path, old: Path, aside: Path | None) -> None:
    """Replace a file, which is there at every moment, and keep it if `aside` says where."""
    old.parent.mkdir(mode=0o700, exist_ok=True)
    if aside is not None:
        aside.parent.mkdir(mode=0o700, exist_ok=True)
        if old.exists() and not aside.exists():
            os.link(old, aside)
    new.replace(old)
    sync(old.parent)


def _files(directory: Path) -> list[Path]:
    return [one for one in directory.rglob("*") if one.is_file() and one.name != _ASIDE]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)


def _sync_all(directory: Path) -> None:
    for one in [*directory.rglob("*"), directory]:
        sync(one)
