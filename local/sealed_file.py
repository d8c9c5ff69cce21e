"""Files of secrets that are sealed where something is named to seal them by (`local.sealing`).

Where nothing is named, a file is stored as it is. Where something is, a file that is not sealed yet is read, and sealed by the
next start.
"""

from __future__ import annotations

from pathlib import Path

from local import sealing, secret_file
from local.sealing import Sealing


def read(path: Path) -> str:
    """Return a file's text; raises Unavailable if it cannot be read, or is sealed by another than is named."""
    text = secret_file.read(path)
    return sealing.opened(path, text, sealing.named()) if sealing.is_sealed(text) else text


def write(path: Path, text: str) -> None:
    """Replace a file atomically, sealed if anything is named to seal it by; raises Unavailable or OSError."""
    secret_file.write(path, _sealed(path, text, sealing.named()))


def write_once(path: Path, text: str) -> str:
    """Create a file unless it exists, as `write` does, and return its text; of several writers at once, one wins."""
    secret_file.write_once(path, _sealed(path, text, sealing.named()))
    return read(path)


def seal(path: Path) -> None:
    """Seal a file that is not, if anything is named to seal it by; raises Unavailable or OSError."""
    if sealing.named() is not None and not sealing.is_sealed(secret_file.read(path)):
        write(path, read(path))


def _sealed(path: Path, text: str, by: Sealing | None) -> str:
    if by is None:
        return text
    return by.seal(path.name, text, secret_file.read(path) if path.exists() else "")
