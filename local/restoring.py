"""Puts the files of a checked backup in a state directory's place: whole, or finished by the next start.

`restoring/` in the state directory holds what is to come; once it is there, nothing but to finish is left. Each file is
replaced at once, and the old one is kept in `before-restore-…/`.
"""

from __future__ import annotations

import os
from pathlib import Path

_COMING = "restoring"
_ASIDE = "aside"
"""In the directory of what is to come: the name of the directory for the old files."""
_BESIDE = ("state.db-wal", "state.db-shm", "state.db-journal")


def is_unfinished(directory: Path) -> bool:
    """Whether a restore was cut off when nothing but to finish it was left."""
    return (directory / _COMING).is_dir()


def begin(directory: Path, coming: Path, aside: str) -> None:
    """Decide for what is to come: from here on the old state is not served again. aside: a name for the old files."""
    _write(coming / _ASIDE, aside)
    _sync_all(coming)
    coming.rename(directory / _COMING)
    _sync(directory)


def finish(directory: Path) -> Path | None:
    """Finish a restore that was begun, if any, and return where the old files are; the caller holds the directory."""
    coming, aside = directory / _COMING, None
    if not coming.is_dir():
        return None
    if (coming / _ASIDE).exists():  # otherwise only the empty directory is left
        aside = directory / (coming / _ASIDE).read_text(encoding="utf-8")
        _move(coming, directory, aside)
        (coming / _ASIDE).unlink()
    for one in [*(one for one in coming.iterdir() if one.is_dir()), coming]:
        one.rmdir()
    _sync(directory)
    return aside


def _move(coming: Path, directory: Path, aside: Path) -> None:
    aside.mkdir(mode=0o700, exist_ok=True)
    if (coming / "state.db").exists():
        # SECURITY: SQLite would mix an old log into the new file. Once that is there, the log beside it is its own
        # (test_a_restore_that_is_killed_is_finished).
        for name in _BESIDE:
            if (directory / name).exists():
                (directory / name).rename(aside / name)
    # The state last: what is served needs the other files beside it.
    for new in sorted(_files(coming), key=lambda one: one.name == "state.db"):
        _replace(new, directory / new.relative_to(coming), aside / new.relative_to(coming))
    _sync_all(aside)
    _sync(directory)


def _replace(new: Path, old: Path, aside: Path) -> None:
    """Replace a file, which is there at every moment, and keep it."""
    for folder in (old.parent, aside.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
    if old.exists() and not aside.exists():
        os.link(old, aside)
    new.replace(old)
    _sync(old.parent)


def _files(directory: Path) -> list[Path]:
    return [one for one in directory.rglob("*") if one.is_file() and one.name != _ASIDE]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)


def _sync_all(directory: Path) -> None:
    for one in [*directory.rglob("*"), directory]:
        _sync(one)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
