"""One server to a state directory."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from local.errors import StateInUse

_HELD: set[tuple[int, int]] = set()
"""Device and inode of the directories that this process holds."""
_LOOK = 0.05
"""Seconds that a look at who holds a directory may take, on a busy machine."""


def hold(directory: Path) -> None:
    """Hold a directory until this process ends, however it ends; raises StateInUse if another one holds it, or OSError.

    SECURITY: two servers over one state would each have policy, keys and addresses of their own in force
    (test_a_second_server_is_refused).
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    status = os.fstat(descriptor)
    if (status.st_dev, status.st_ino) in _HELD:
        os.close(descriptor)
        return
    try:
        _lock(descriptor)
    except OSError as error:
        os.close(descriptor)
        if not isinstance(error, BlockingIOError):
            raise
        raise StateInUse(hint=f"another server uses {directory}: stop it, or name another directory") from error
    # It stays open, since that is what holds the lock; children do not inherit it.
    _HELD.add((status.st_dev, status.st_ino))


def is_held(directory: Path) -> bool:
    """Whether another process holds a directory; raises OSError. Nothing is changed."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(_LOOK)  # it may have been a look only (`is_held`)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
