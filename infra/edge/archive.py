"""A zip that is the same, byte for byte, whenever and wherever it is made of the same files."""

from __future__ import annotations

import zipfile
from pathlib import Path

_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644
"""A plain file that whoever Lambda runs it as can read."""


def pack(folder: Path, archive: Path) -> int:
    """Write a folder's files into a zip, in the order of their names; return how many they are."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w") as packed:
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _TIME)
            entry.create_system, entry.external_attr = 3, _MODE << 16  # Unix, wherever it is made
            packed.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    return len(files)
