"""A zip whose bytes depend only on its files' names and contents."""

from __future__ import annotations

import zipfile
from pathlib import Path

_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644
"""A regular file that Lambda's user, whichever it is, can read."""


def write_zip(folder: Path, archive: Path) -> int:
    """Write a folder's files into a zip, ordered by name; return the number of files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w") as packed:
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _TIME)
            entry.create_system, entry.external_attr = 3, _MODE << 16  # 3 is Unix, on whatever system this runs
            packed.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    return len(files)
