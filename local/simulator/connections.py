"""The open connections of one door, at most so many: a newcomer takes the place of the one that has waited longest.

A connection waits while its peer has to act: until a request's head and body are there, and after the answer. Strangers
can have any number that wait. One that is busy, since a call of it is being decided or is under way, is never closed for
another; the doors let fewer be busy than there may be connections, so that there always is one that waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any, Final, Protocol

from aiohttp import web

from local.simulator import keepalive

HEAD_TIMEOUT: Final = 30.0
"""Seconds that a new connection has until its first request's head is complete."""
LOG_SECONDS: Final = 10.0
"""Seconds between two log lines of a door that is full."""
MOST_HEAD: Final = 64 * 1024
"""Bytes of a request's head that a connection holds before it is complete: more than any door answers otherwise."""
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
END_SECONDS: Final = 0.5
"""Seconds that a call which is broken off at a stop has to tidy up."""
_LOG: Final = logging.getLogger(__name__)


class Occupant(Protocol):
    """What has a place at a door: a connection, or one that is about to be."""

    transport: asyncio.Transport | None


class Connections:
    """Those of one door in one process; only for its event loop.

    door: its name in the log. most: connections. most_busy: those of them that may be busy.
    """

    def __init__(self, door: str, most: int, most_busy: int) -> None:
        if not 0 < most_busy < most:
            raise ValueError("at least one connection must be allowed to be busy, and one must not be")
        self.door, self._most, self._most_busy = door, most, most_busy
        self._waiting: dict[Occupant, None] = {}  # the one that has waited longest comes first
        self._busy: set[Occupant] = set()
        self._heads: dict[Occupant, asyncio.TimerHandle] = {}
        self._closed, self._say_next = 0, 0.0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._busy)

    def opened(self, connection: Occupant) -> None:
        """Take a new connection, and close the one that has waited longest if there is no room."""
        self._waiting[connection] = None
        loop = asyncio.get_running_loop()
        self._heads[connection] = loop.call_later(HEAD_TIMEOUT, self._head_is_late, connection)
        # SECURITY: a newcomer always gets in, or idle strangers could keep a revocation out
        # (test_a_revocation_gets_in_beside_idle_strangers).
        if len(self) > self._most:
            self._close(next(iter(self._waiting)))

    def has_head(self, connection: Occupant) -> None:
        """Note that a request's head is complete: of those that wait, this one has waited least."""
        if timer := self._heads.pop(connection, None):
            timer.cancel()
        if self._waiting.pop(connection, connection) is None:
            self._waiting[connection] = None

    def is_new(self, connection: Occupant) -> bool:
        """Whether no request's head was complete yet."""
        return connection in self._heads

    def lost(self, connection: Occupant) -> None:
        """Forget a connection that is closed."""
        self._waiting.pop(connection, None)
        self._busy.discard(connection)
        if timer := self._heads.pop(connection, None):
            timer.cancel()

    @property
    def is_busy(self) -> bool:
        """Whether no further connection may be busy."""
        return len(self._busy) >= self._most_busy

    @contextlib.contextmanager
    def busy(self, connection: Occupant) -> Iterator[None]:
        """Keep a connection within a block; it waits again afterwards."""
        self.begin(connection)
        try:
            yield
        finally:
            self.end(connection)

    def begin(self, connection: Occupant) -> None:
        """Keep a connection until `end`."""
        if self._waiting.pop(connection, connection) is None:
            self._busy.add(connection)

    def end(self, connection: Occupant) -> None:
        """Let it wait again."""
        if connection in self._busy:
            self._busy.remove(connection)
            self._waiting[connection] = None

    def _head_is_late(self, connection: Occupant) -> None:
        self._heads.pop(connection, None)
        if connection in self._waiting and connection.transport is not None:
            connection.transport.abort()

    def _close(self, connection: Occupant) -> None:
        transport = connection.transport
        self.lost(connection)
        if transport is not None:
            transport.abort()
        self._closed += 1
        now = asyncio.get_running_loop().time()
        if now >= self._say_next:
            text = "%s: all %d connections of a worker were in use; closed %d that had waited longest for a request"
            _LOG.warning(text, self.door, self._most, self._closed)
            self._closed, self._say_next = 0, now + LOG_SECONDS


class Connection(web.RequestHandler):
    """aiohttp's connection, as one of its door's."""

    __slots__ = ("_head", "_places", "is_ending")

    def __init__(self, connections: Connections, manager: web.Server, **options: Any) -> None:  # noqa: ANN401  aiohttp's
        super().__init__(manager, **options)
        self._places = connections
        self._head = 0
        self.is_ending = False
        """Whether the next answer is the last one, and says so."""

    @property
    def places(self) -> Connections:
        """Those of its door."""
        return self._places

    @property
    def is_new(self) -> bool:
        """Whether its peer has sent no request yet."""
        return self._places.is_new(self)

    def was_used_within(self, seconds: float) -> bool:
        """Whether its last answer ended so shortly ago, so that its peer may be about to send the next request."""
        last = self._next_keepalive_close_time - self._keepalive_timeout
        return not self._request_in_progress and self._loop.time() - last < seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place at the door."""
        super().connection_made(transport)
        if (one := transport.get_extra_info("socket")) is not None:
            keepalive.probe(one)
        self._places.opened(self)

    def data_received(self, data: bytes) -> None:
        """Take what comes, also at a stop: aiohttp drops it then, even what a call under way still needs."""
        was_within_a_head, requests = self._is_within_a_head(), self._request_count
        if not self._close or not self._request_in_progress:
            self.receive(data)
        else:
            self._close = False
            try:
                self.receive(data)
            finally:
                self._close = True
        if was_within_a_head and self._request_count == requests and self._is_within_a_head():
            self._head += len(data)
            # SECURITY: aiohttp's parser limits lines and their number alone, together megabytes for each connection
            # (test_a_head_is_bounded).
            if self._head > MOST_HEAD:
                self._end_of_head()
        elif self._head:
            self._head = 0

    def receive(self, data: bytes) -> None:
        """Take what comes."""
        super().data_received(data)

    def is_slow(self) -> bool:
        """Whether the peer has to take what was written before more is."""
        return self._paused

    def write(self, data: bytes) -> None:
        """Write a part of an answer. Raises ConnectionResetError if the peer is gone."""
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError
        self.transport.write(data)

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002  aiohttp's signature
        """Read on. It is called for each piece of a body, whether reading was paused or not, and would ask the parser each time."""
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

    def _is_within_a_head(self) -> bool:
        """Whether a head is awaited, or the rest of one."""
        if self._messages or self._upgraded:
            return False
        if (request := self._current_request) is not None:
            return request.content.is_eof()  # a client does not wait for its answer
        return self._waiter is not None and not self._waiter.done()

    def _end_of_head(self) -> None:
        if self.transport is not None and not self._request_in_progress:
            self.transport.write(_TOO_LARGE)
        self.force_close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109  aiohttp's signature
        """Give a call under way its time first: from then on aiohttp reads nothing more. timeout: seconds; None: any."""
        if self._request_in_progress:
            ended = self._handler_waiter = self._loop.create_future()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await ended
            self._handler_waiter = None
        await super().shutdown(END_SECONDS)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Leave the place."""
        self._places.lost(self)
        super().connection_lost(exc)
