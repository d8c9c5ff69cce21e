"""One call on its way to an origin until its answer begins: whether it may be sent once more, and what may become of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import ClientConnectionError, ClientError, ClientOSError, ServerDisconnectedError

from local.simulator.deadline import Deadline
from local.simulator.origin_socket import OriginSocket

REPEATABLE: Final = (ClientOSError, ServerDisconnectedError)
"""What is raised where a connection broke before an answer came."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that only read (RFC 9110, section 9.2.1)."""


class BrokenConnectionError(ClientConnectionError):
    """The origin's connection broke before a response came."""


class MalformedAnswerError(ClientError):
    """The origin's answer is no HTTP. Its text would quote it."""


class Sending:
    """One call on its way to an origin, until the head of the answer is complete."""

    __slots__ = ("_connected", "_socket", "deadline", "has_stream", "is_repeated")

    def __init__(self, deadline: Deadline, connected: Callable[[], None], *, has_stream: bool) -> None:
        """connected: called once there is a connection. has_stream: whether its body is read as it is sent."""
        self.deadline, self._connected, self.has_stream = deadline, connected, has_stream
        self._socket: OriginSocket | None = None
        self.is_repeated = False

    def may_repeat(self, method: str) -> bool:
        """Whether a call whose connection broke may be sent again: it had been kept, and has done nothing at the origin.

        Whether the origin had read the call when it closed cannot be told, unless no byte of it was sent. A body that is
        streamed is gone.
        """
        if self._socket is None or not self._socket.was_kept or self.has_stream:
            return False
        return method in _SAFE or not self._socket.has_sent

    def is_connected(self, used: OriginSocket) -> None:
        """Note that there is a connection: from here on the origin may have something of the call."""
        self._socket = used
        self._connected()
        if not self.has_stream:
            self.deadline.is_sent()
