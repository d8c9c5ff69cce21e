"""What the log says when a listening socket cannot accept: one line, not a traceback for every try."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import Any, Final

LOG_SECONDS: Final = 10.0
"""Seconds between two lines."""
_OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_LOG: Final = logging.getLogger("keybroker")


class AcceptFaults:
    """An event loop's exception handler. asyncio itself tries again after a second; all other faults are told as ever."""

    def __init__(self) -> None:
        self._count, self._say_next = 0, 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log a fault. context: asyncio's."""
        fault = context.get("exception")
        if not (isinstance(fault, OSError) and fault.errno in _OUT_OF_DESCRIPTORS and "socket" in context):
            loop.default_exception_handler(context)
            return
        self._count += 1
        if loop.time() >= self._say_next:
            _LOG.warning("no connection can be accepted: %s (%d times); trying again", fault.strerror, self._count)
            self._count, self._say_next = 0, loop.time() + LOG_SECONDS
