"""A viewer's connection to the simulated CloudFront, and its answers to what is no HTTP."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import LineTooLong

from local.simulator.connections import Connection, Connections
from local.simulator.deadline import Deadline
from local.simulator.known_heads import KnownHead, Words
from local.simulator.quick_calls import QuickCall
from local.simulator.viewer_response import error_response

if TYPE_CHECKING:
    from local.simulator.cloudfront import Distribution

_LITTLE: Final = 32 * 1024
"""Bytes that an empty transport takes twice without a pause."""
_LOG: Final = logging.getLogger("local.simulator.cloudfront")


class ViewerConnection(Connection):
    """A connection of which aiohttp's task serves a request only where that has to have one (quick_calls.py).

    It has CloudFront's error responses in place of aiohttp's own, which quote headers.
    """

    __slots__ = ("_bursts", "_distribution", "_quick", "deadline", "last_known")

    def __init__(self, places: Connections, distribution: Distribution, **options: Any) -> None:  # noqa: ANN401  aiohttp's
        super().__init__(places, distribution, **options)
        self._distribution, self._bursts = distribution, distribution.bursts
        self._quick: QuickCall | None = None
        self.deadline = Deadline(None)
        """Of its quick calls, one after the other."""
        self.last_known: tuple[Words | None, KnownHead | None] = None, None
        """The last head on it that was known, and what is: to compare it takes a third of the time of looking it up."""

    def receive(self, data: bytes) -> None:
        """Take what comes, and serve the first request of it if none is being served."""
        waiter = self._waiter
        if waiter is None or waiter.done():  # aiohttp's task has a request, and looks for the next itself
            super().receive(data)
            return
        self._waiter = None  # what comes wakes it only if it is needed
        try:
            super().receive(data)
        finally:
            self._waiter = waiter
        if self._force_close:
            waiter.cancel()
        elif self._quick is None and self._messages:
            self._serve_next()

    def _serve_next(self) -> None:
        waiter = self._waiter
        if self._quick is not None or not self._messages or waiter is None or waiter.done():
            return
        # SECURITY: who takes no answers is served no calls, or they would pile up here without a bound
        # (test_who_reads_nothing_is_served_no_more).
        if self.writing_paused:
            return
        message, content = self._messages[0]
        quick = (
            self._distribution.quick_call(self, message, content) if isinstance(message, RawRequestMessage) else None
        )
        if quick is None:
            waiter.set_result(None)
            return
        self._messages.popleft()
        self._quick, self._request_in_progress = quick, True
        # As aiohttp's task does: the parser reads further, and so does the transport.
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        quick.begin()

    def quick_ended(self, *, keep_alive: bool) -> None:
        """Take the next request, or close."""
        self._quick, self._request_in_progress = None, False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        if not keep_alive or self._close or self._force_close:
            self.force_close()
            return
        self._keep_open()
        if self._messages:
            self._loop.call_soon(self._serve_next)

    def write(self, data: bytes) -> None:
        """Write a part of an answer: soon, where it is a quick call's."""
        if self._quick is None or self.transport is None or self.transport.is_closing():
            self._bursts.flush()
            super().write(data)
        elif len(data) > _LITTLE or self.transport.get_write_buffer_size():
            self._bursts.flush()  # whether the viewer takes more has to be known at once
            self.transport.write(data)
        else:
            self._bursts.write(self.transport, data)

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109  aiohttp's signature
        """End a quick call as well: a viewer that takes no more would not lose the connection before it does."""
        await super().shutdown(timeout)
        if self._quick is not None:
            self._quick.left()

    def force_close(self) -> None:
        """Close, once what was written is on its way."""
        self._bursts.flush()
        super().force_close()

    def _keep_open(self) -> None:
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)

    def _process_keepalive(self) -> None:
        if self._quick is None:
            super()._process_keepalive()
        else:  # aiohttp's task is idle, but the connection is not
            self._keepalive_handle = None
            self._keep_open()

    def resume_writing(self) -> None:
        """Go on: the viewer takes more."""
        super().resume_writing()
        if self._quick is not None:
            self._quick.drained()
        elif self._messages:
            self._loop.call_soon(self._serve_next)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End what is being served."""
        super().connection_lost(exc)
        if self._quick is not None:
            self._quick.left()
        self.deadline.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return 413 for a request that is too large, 400 for one that cannot be parsed, 502 for an error in this module."""
        if request.writer.output_size > 0:
            raise ConnectionError  # part of a response was sent, so the connection must break
        too_large = isinstance(exc, LineTooLong) or (message or "").startswith("Too many headers")
        name = "function" if status >= 500 else "too_large" if too_large else "malformed"
        request_id = next(self._distribution.ids)
        # SECURITY: the exception's text holds the malformed header (test_malformed_request_is_not_quoted).
        _LOG.warning("request %s: %s (%s)", request_id, name, type(exc).__name__)
        response = error_response(name, request_id)
        response.force_close()
        return response
