"""That all that Chalice put into a zip was reviewed: a file of this source, or of a locked wheel."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

_OURS = ("app.py", "chalicelib")
"""What of this source runs in the zip."""
_INSTALLED = re.compile(r"^[^/]+\.data/(?:purelib|platlib)/")
"""Where a wheel has files that are installed beside its others (PEP 427)."""


def check(package: Path, wheels: Path, source: Path) -> None:
    """Raise ValueError for a member of a zip that is not, byte for byte, one of our files or of a checked wheel's.

    wheels: a folder of wheels whose hashes are locked. source: this project's, as it was when Chalice read it.
    """
    known: dict[str, set[bytes]] = defaultdict(set)
    for name, content in (*_ours(source), *_theirs(wheels)):
        known[name].add(hashlib.sha256(content).digest())
    with zipfile.ZipFile(package) as packed:
        members = [one for one in packed.namelist() if not one.endswith("/")]
        # SECURITY: Chalice copies its own runtime from wherever it is installed. test_runtime_that_was_changed_is_refused
        strange = [one for one in members if hashlib.sha256(packed.read(one)).digest() not in known[one]]
    if strange:
        raise ValueError(
            f"not the reviewed files (requirements.lock): {', '.join(sorted(strange)[:5])}: run make setup"
        )


def _ours(source: Path) -> Iterator[tuple[str, bytes]]:
    for path in source.rglob("*"):
        name = path.relative_to(source)
        if name.parts[0] in _OURS and path.is_file():
            yield name.as_posix(), path.read_bytes()


def _theirs(wheels: Path) -> Iterator[tuple[str, bytes]]:
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as packed:
            yield from ((_INSTALLED.sub("", name), packed.read(name)) for name in packed.namelist())
