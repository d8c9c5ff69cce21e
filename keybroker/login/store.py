"""Where a person's login is kept: one file that only its owner can read, replaced atomically, and a lock for its changes."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from keybroker.errors import IdentityError
from keybroker.json_object import read_json_object
from keybroker.login.id_token import Login

FILE = "login.json"
_LOCK = "login.lock"
_TEMPORARY = ".login."
_LIMIT = 64 * 1024
"""Bytes of the file at most."""
_PATIENCE, _PAUSE = 45.0, 0.02
"""Seconds that another process may hold the lock, a little longer than a refresh takes at most, and between two tries."""
_SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""No symbolic link is followed, a named pipe does not block, and no child inherits it."""


def folder(environ: Mapping[str, str]) -> Path | None:
    """Return the folder of the file; None where the environment names no home."""
    state = Path(environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():  # the XDG specification: a relative one is ignored
        state = Path(environ.get("HOME") or environ.get("USERPROFILE") or "", ".local", "state")
    return state / "keybroker" if state.is_absolute() else None


def load(where: Path) -> Login | None:
    """Return the login in a folder, None for none; raises IdentityError if it is not safely ours, or not a login.

    What this user may not even look at is not this user's login.
    """
    path = where / FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | _SAFE)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except OSError as error:
        raise IdentityError(f"the login {path} cannot be read: {error.strerror}; remove it and log in again") from None
    try:
        _check_ours(path, os.fstat(descriptor), stat.S_ISREG, 0o077)
        with _errors(where), os.fdopen(descriptor, "rb", closefd=False) as file:
            members = read_json_object(file.read(_LIMIT))
    finally:
        os.close(descriptor)
    values = [members.get(name) for name in ("issuer", "client_id", "id_token", "refresh_token")]
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) < len(values) or not all(texts[:3]):
        raise IdentityError(f"the file {path} is not a login; run keybroker login")
    return Login(*texts)


def save(where: Path, login: Login) -> None:
    """Replace the login in a folder; the caller holds the lock. Raises IdentityError: the old one is still there."""
    with _errors(where):
        descriptor, temporary = tempfile.mkstemp(dir=where, prefix=_TEMPORARY)  # 0600
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                json.dump(asdict(login), file)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(where / FILE)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise


def take(where: Path) -> Login | None:
    """Remove the login from a folder and return it, None for none; raises IdentityError as `load` does, once it is gone."""
    if not where.exists():
        return None
    with locked(where):
        try:
            return load(where)
        finally:
            with _errors(where):
                for path in (where / FILE, *where.glob(f"{_TEMPORARY}*")):  # one may be left of a crash
                    path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(where: Path) -> Iterator[None]:
    """Hold the folder's lock, which one process or thread has at a time; makes the folder. Raises IdentityError."""
    with _errors(where):
        where.parent.mkdir(parents=True, exist_ok=True)
        where.mkdir(mode=0o700, exist_ok=True)
        # SECURITY: in a folder that others can write, they could put another login in its place (test_a_shared_folder).
        _check_ours(where, where.lstat(), stat.S_ISDIR, 0o022)
        descriptor = os.open(where / _LOCK, os.O_RDWR | os.O_CREAT | _SAFE, 0o600)
    try:
        ends = time.monotonic() + _PATIENCE
        while not _try_lock(where, descriptor):
            if time.monotonic() > ends:
                raise IdentityError(f"another process has held {where / _LOCK} for {_PATIENCE:.0f} s; end it")
            time.sleep(_PAUSE)
        try:
            yield
        finally:
            _unlock(descriptor)  # closing is not enough: a process that was forked meanwhile has it open, too
    finally:
        os.close(descriptor)


def _try_lock(where: Path, descriptor: int) -> bool:
    with _errors(where):  # a file system without locks
        return _lock(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _check_ours(path: Path, found: os.stat_result, is_kind: Callable[[int], bool], others: int) -> None:
    """Raise IdentityError unless it is of this kind, this user's own, and without these permissions for others."""
    # SECURITY: a refresh token is worth weeks, so what others could read or swap is not used (test_an_unsafe_file).
    if not is_kind(found.st_mode):
        raise IdentityError(f"{path} is not a plain file or folder; remove it and log in again")
    if not hasattr(os, "geteuid"):
        return  # Windows: the profile's own permissions
    if found.st_uid != os.geteuid():
        raise IdentityError(f"{path} belongs to another user; log in as that user, or set XDG_STATE_HOME")
    if stat.S_IMODE(found.st_mode) & others:
        raise IdentityError(f"{path} is open to other users (mode {stat.S_IMODE(found.st_mode):04o}); chmod go= it")


@contextlib.contextmanager
def _errors(where: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise IdentityError(f"the login in {where} cannot be used: {error.strerror or type(error).__name__}") from None
