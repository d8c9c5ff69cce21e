"""requirements.lock: the versions and hashes of what goes into the zips, and the check of a wheel against them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
_LINE = re.compile(r"([a-z0-9-]+)==([\w.!+]+)(?: ; [^\\]+?)?((?: +--hash=sha256:[0-9a-f]{64})+)")


@dataclass(frozen=True, slots=True)
class Locked:
    """A distribution's version, and the SHA-256 of each of its files, in hex."""

    version: str
    digests: frozenset[str]


def normalized(name: str) -> str:
    """Return a distribution's name as the lock spells it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read(text: str) -> Mapping[str, Locked]:
    """Return what is locked, by normalized name.

    Raises ValueError for anything else in the file: an option, a URL, a range, a line without hashes, a name twice.
    """
    found: dict[str, Locked] = {}
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            match = _LINE.fullmatch(line.strip())
            if not match or match[1] in found:
                raise ValueError(f"requirements.lock: not one pinned distribution with its hashes: {line[:60]!r}")
            found[match[1]] = Locked(match[2], frozenset(re.findall(r"[0-9a-f]{64}", match[3])))
    return found


def current() -> Mapping[str, Locked]:
    """Return what is locked in this source."""
    return read(LOCK.read_text(encoding="utf-8"))


def wheels_of(folder: Path, name: str, version: str) -> list[Path]:
    """Return a distribution's wheels in a folder, whose file names have its name in any spelling (PEP 427)."""
    split = {path: path.name.split("-") for path in sorted(folder.glob("*.whl"))}
    wanted = normalized(name), version
    return [path for path, (found, *rest) in split.items() if (normalized(found), *rest[:1]) == wanted]


def verified(wheel: Path, locked: Locked) -> bytes:
    """Return a wheel's content. Raises ValueError if it is not one of the files that are locked."""
    content = wheel.read_bytes()
    # SECURITY: what is packed are the bytes that were checked, wherever the file came from. test_tampered_wheel_is_refused
    if hashlib.sha256(content).hexdigest() not in locked.digests:
        raise ValueError(f"{wheel.name} is not the locked file (requirements.lock): delete it from {wheel.parent}")
    return content
