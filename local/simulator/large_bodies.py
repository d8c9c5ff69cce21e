"""Places for large request bodies, which bound the memory that strangers can take: a body is read before who sent it is known.

A newcomer takes the place of the body that has been arriving for longest, so that nobody keeps others out by sending
slowly. One that has arrived keeps its place until its request is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

SMALL: Final = 64 * 1024
"""Bytes of a body that needs no place."""
MOST: Final = 8
"""Large bodies at once."""


class NoPlaceError(Exception):
    """Every place has a body that has arrived."""


class LargeBodies:
    """The places of one gateway; only for its event loop."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._arriving: dict[asyncio.Timeout, None] = {}  # the oldest first
        self._arrived: set[asyncio.Timeout] = set()

    @contextmanager
    def place(self, deadline: asyncio.Timeout) -> Iterator[Callable[[], None]]:
        """Take a place until the end of the block, which gets what to call once the body has arrived. Raises NoPlaceError.

        deadline: within which the body has to arrive; it is over at once when a newcomer takes the place.
        """
        if len(self._arriving) + len(self._arrived) >= self._most:
            if not self._arriving:
                raise NoPlaceError
            oldest = next(iter(self._arriving))
            del self._arriving[oldest]
            oldest.reschedule(asyncio.get_running_loop().time())
        self._arriving[deadline] = None

        def arrived() -> None:
            self._arriving.pop(deadline, None)
            self._arrived.add(deadline)

        try:
            yield arrived
        finally:
            self._arriving.pop(deadline, None)
            self._arrived.discard(deadline)
