"""A connection to an origin, whose answers go to a coroutine that reads them, or to a listener as they arrive."""

from __future__ import annotations

from typing import Protocol

from aiohttp import StreamReader
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError

from local.simulator.sending import MalformedAnswerError

_Answer = tuple[RawResponseMessage, StreamReader]


class Listener(Protocol):
    """What is told of one answer. No method raises."""

    def headed(self, message: RawResponseMessage, content: StreamReader) -> bool:
        """Take the head of an answer, which has not `moved` yet; False if it was not asked for."""

    def moved(self) -> None:
        """Look at what has arrived."""

    def broke(self, error: BaseException) -> None:
        """Take note that no more will arrive."""


class OriginConnection(ResponseHandler):
    """aiohttp's, which reads answers by its parser. listener: of the call that it serves, None if a coroutine reads."""

    listener: Listener | None = None

    @property
    def is_spent(self) -> bool:
        """Whether it is closed, or what came on it leaves it of no use for another call."""
        return self.transport is None or self.should_close

    def feed_data(self, data: _Answer, size: int = 0) -> None:
        """Take an answer's head. What nobody asked for stays here, and the connection serves no other call."""
        if self.listener is None or not self.listener.headed(*data):
            super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Take what comes."""
        listener = self.listener  # with the end of its answer it is silenced, and has to look at that still
        super().data_received(data)
        if listener is not None:
            listener.moved()
        if self._exception is not None:
            self._tell_end()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002  aiohttp's signature
        """Read on. It is called for each piece of a body, whether reading was paused or not, and would ask the parser each time."""
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take note of the end, which may be that of an answer."""
        listener = self.listener  # as in `data_received`
        super().connection_lost(exc)
        if listener is not None:
            listener.moved()
        self._tell_end()

    def _tell_end(self) -> None:
        error, body = self.exception(), self._payload
        if error is None:
            return
        if self.listener is not None:
            self.listener.broke(error)
        elif body is not None and not body.is_eof() and body.exception() is None:
            # aiohttp tells a coroutine that waits for more of a body nothing of what is wrong with its framing.
            body.set_exception(MalformedAnswerError() if isinstance(error, HttpProcessingError) else error)
