"""Sockets to origins: one that still hands over what its peer said last, and that knows whether it was used.

A provider may answer before it has the whole body, and close. The next write to it then fails, and asyncio gives such a
connection up without reading what has arrived: the answer that says why. So a write to a peer that takes no more counts as
done, and the reading side alone tells the end. It always does: after what has arrived it returns the end or a reset.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_UNREADY = 0
"""Milliseconds to wait for an event."""


class OriginSocket(socket.socket):
    """A TCP socket whose writes do not fail because the peer has closed. `has_sent`: whether it took bytes since `lease`."""

    __slots__ = ("_poll", "has_sent", "leases")

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self.has_sent = False
        self.leases = 0
        self._poll = select.poll()  # not select(), which knows descriptors up to 1,023 only
        self._poll.register(self.fileno(), select.POLLIN)

    def lease(self) -> None:
        """Begin a call."""
        self.leases += 1
        self.has_sent = False

    @property
    def was_kept(self) -> bool:
        """Whether another call used it before this one."""
        return self.leases > 1

    def is_over(self) -> bool:
        """Whether the peer has closed it, or said something although nobody asked: it is of no use for another call."""
        return bool(self._poll.poll(_UNREADY))

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Send; to a peer that takes no more, all of it is gone."""
        try:
            sent = super().send(data, flags)
        except (BrokenPipeError, ConnectionResetError):
            return memoryview(data).nbytes
        self.has_sent = True
        return sent

    def sendmsg(self, buffers: Iterable[ReadableBuffer], /) -> int:  # type: ignore[override]  # as asyncio calls it
        """Send several; see `send`."""
        found = [memoryview(one) for one in buffers]
        try:
            sent = super().sendmsg(found)
        except (BrokenPipeError, ConnectionResetError):
            return sum(one.nbytes for one in found)
        self.has_sent = True
        return sent
