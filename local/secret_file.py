"""Files that only their owner may read: written atomically, and refused if others could read them."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from local.errors import SecretFileOpenToOthers, SecretFileTooLarge, SecretFileUnreadable

_SIZE_LIMIT = 1024 * 1024


def read(path: Path) -> str:
    """Return the file's text; raises Unavailable if it is missing, too large, or readable by others."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a pipe would block until it has a writer
        try:
            status = os.fstat(handle)
            # SECURITY: a key that other users of the machine can read is not a secret (test_secret_file.py).
            if not stat.S_ISREG(status.st_mode):
                raise SecretFileUnreadable(hint=f"{path} is no file")
            if stat.S_IMODE(status.st_mode) & 0o077:
                raise SecretFileOpenToOthers(hint=f"{path} holds secrets: chmod 600 it")
            if status.st_size > _SIZE_LIMIT:
                raise SecretFileTooLarge(hint=f"{path} is over {_SIZE_LIMIT} bytes")
            with os.fdopen(handle, "rb", closefd=False) as file:
                return file.read(_SIZE_LIMIT).decode("utf-8")
        finally:
            os.close(handle)
    except UnicodeDecodeError:
        raise SecretFileUnreadable(hint=f"{path} is no text") from None  # the cause would quote a byte of it
    except OSError as error:
        raise SecretFileUnreadable(hint=str(error)) from error


def write(path: Path, text: str) -> None:
    """Replace the file atomically, mode 0600, on the disk when it returns; raises Unavailable for a text too large to be read back."""
    if len(text.encode()) > _SIZE_LIMIT:
        raise SecretFileTooLarge
    handle, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600 from the start
    try:
        _fill(handle, text, path)
        Path(made).replace(path)
        sync(path.parent)
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise


def remove_leftovers(path: Path) -> None:
    """Remove what writes of this file that were killed have left beside it; nobody may be writing it."""
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink()


def write_once(path: Path, text: str) -> str:
    """Create the file unless it exists, and return its text; of several writers at once, one wins."""
    handle, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        _fill(handle, text, path)
        os.link(made, path)
    except FileExistsError:
        pass
    finally:
        Path(made).unlink()
    sync(path.parent)
    return read(path)


def _fill(handle: int, text: str, path: Path) -> None:
    """Write and close a file that becomes `path`; raises OSError with that name, which a full disk has not."""
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def sync(path: Path) -> None:
    """Have a file's content, or what was done in a directory, outlive a power cut; raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
