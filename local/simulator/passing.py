"""A call that was sent on at once, and its answer on its way to the viewer: by callbacks, in no task of its own."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, cast

from aiohttp import StreamReader, web
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError

from chalicelib.errors import Refusal
from local.simulator import web_sockets
from local.simulator.function_result import OriginRequest
from local.simulator.origin_client import Sent
from local.simulator.origin_exchange import OriginAnswer, check_coding, is_answer
from local.simulator.sending import REPEATABLE, BrokenConnectionError, MalformedAnswerError, Sending
from local.simulator.settlements import Settlement
from local.simulator.viewer_response import ViewerResponse

if TYPE_CHECKING:
    from local.simulator.forwarding import Forwarding
    from local.simulator.viewer_connection import ViewerConnection


class Passing:
    """One call, from when it is sent until its answer has gone to the viewer, or broke off: its connection's `Listener`.

    ended: called with the response at the end, which is still to be sent unless it has begun; with None where nothing of
    an answer came, and the call may be sent once more.
    """

    __slots__ = (
        "_content",
        "_deadline",
        "_ended",
        "_feed",
        "_forwarding",
        "_has_moved",
        "_is_all",
        "_is_moving",
        "_is_over",
        "_message",
        "_origin_request",
        "_reading",
        "_request",
        "_request_id",
        "_response",
        "_run",
        "_sending",
        "_sent",
        "_settlement",
        "_upstream",
        "_viewer",
        "_waits_for_viewer",
        "_whole",
    )
    _content: StreamReader
    _feed: Callable[[bytes], None]

    def __init__(  # noqa: PLR0913, PLR0917  its parts
        self,
        forwarding: Forwarding,
        request: web.BaseRequest,
        origin_request: OriginRequest,
        request_id: str,
        settlement: Settlement,
        ended: Callable[[ViewerResponse | None], None],
    ) -> None:
        self._forwarding, self._request, self._origin_request = forwarding, request, origin_request
        self._request_id, self._settlement, self._ended = request_id, settlement, ended
        self._viewer = cast("ViewerConnection", request.protocol)
        self._deadline = self._viewer.deadline
        self._deadline.begin(forwarding.seconds(origin_request), self._is_late)
        sent = functools.partial(forwarding.unsent.sent, request_id)
        self._sending = Sending(self._deadline, sent, has_stream=False)
        self._run = forwarding.run(request_id, settlement)
        self._sent: Sent | None = None
        self._message: RawResponseMessage | None = None
        self._upstream: OriginAnswer | None = None
        self._response: ViewerResponse | None = None
        self._reading: AbstractContextManager[Callable[[bytes], None]] | None = None
        self._whole = b""
        self._is_all = self._is_over = self._is_moving = self._has_moved = self._waits_for_viewer = False

    def begin(self, message: bytes) -> bool:
        """Send the call over a connection that was kept; False, and nothing done, if there is none.

        message: the head of the request, and its body.
        """
        address, method = self._origin_request.address, self._request.method
        try:
            self._sent = self._forwarding.client.send_at_once(address, method, message, self._sending, self)
        except Exception as error:  # noqa: BLE001  as in `moved`
            self._fail(error)
            return True
        if self._sent is None:
            self._deadline.rest()
            return False
        if self._run is not None:
            self._run.begin(self._cut)
        return True

    def headed(self, message: RawResponseMessage, content: StreamReader) -> bool:
        """See `Listener.headed`."""
        if self._message is not None:
            return False
        if is_answer(message):
            self._message, self._content = message, content
        return True

    def moved(self) -> None:
        """See `Listener.moved`."""
        self._has_moved = True
        if self._message is None or self._is_moving:  # to read what has arrived may let more in
            return
        self._is_moving = True
        try:
            while self._has_moved and not self._is_over:
                self._has_moved = False
                self._pass_on(self._response or self._begin_answer(self._message))
        except Exception as error:  # noqa: BLE001  it would go to the event loop, and the viewer wait for ever
            self._fail(error)
        finally:
            self._is_moving = False

    def broke(self, error: BaseException) -> None:
        """See `Listener.broke`."""
        if self._is_over:
            return
        if isinstance(error, REPEATABLE):
            # SECURITY: as in `OriginClient.send` (test_only_a_harmless_request_is_repeated).
            if self._message is None and self._sending.may_repeat(self._request.method):
                self._end(None, type(error))
                return
            error = BrokenConnectionError()
        self._fail(MalformedAnswerError() if isinstance(error, HttpProcessingError) else error)

    def left(self) -> None:
        """End the call: its viewer is gone."""
        if not self._is_over:
            self._close(asyncio.CancelledError)

    def _begin_answer(self, message: RawResponseMessage) -> ViewerResponse:
        if self._sent is None:
            raise BrokenConnectionError
        check_coding(message)
        self._deadline.is_answered()
        upstream = self._upstream = self._sent.answer(message, self._content)
        if upstream.status == web_sockets.SWITCHING:
            raise BrokenConnectionError  # it switches protocols, which was not requested
        self._settlement.answered(upstream.status)
        response = self._response = self._forwarding.response(self._request, self._origin_request, upstream)
        # One that is there to its end, as most are, goes on in one piece, and is counted at the end.
        if not self._content.is_eof() or self._viewer.is_slow():
            self._reading = self._forwarding.answers.reading(self._settlement, self._request.method, upstream)
            self._feed = self._reading.__enter__()
        return response

    def _pass_on(self, response: ViewerResponse) -> None:
        """Send on what has arrived; the head goes at once, even without anything."""
        content = self._content
        if self._has_to_wait():
            return  # what is there stays, and the origin is read no further, until the viewer takes more
        if self._waits_for_viewer:
            self._waits_for_viewer = False
            self._deadline.waits_for_origin()
        if not self._is_all:
            chunk = _arrived(content)
            is_all = self._is_all = content.at_eof()
            if not (chunk or is_all) and response.has_begun:
                return
            response.send(self._request, chunk, is_last=is_all)
            if self._reading is None:
                self._whole = chunk
            else:
                self._feed(chunk)
        if self._has_to_wait():
            return
        if self._is_all:
            self._end(response)
        else:
            self._deadline.waits_for_origin()

    def _has_to_wait(self) -> bool:
        """Whether the viewer has to take more first, which it is given its own time for: once, whatever arrives meanwhile."""
        if not self._viewer.is_slow():
            return False
        if not self._waits_for_viewer:
            self._waits_for_viewer = True
            self._deadline.body_moves()
        return True

    def _is_late(self) -> None:
        self._fail(TimeoutError())

    def _fail(self, error: BaseException) -> None:
        if not self._is_over:
            failed = (self._request, self._origin_request, self._request_id, self._settlement, self._response, error)
            self._end(self._forwarding.failed(*failed), type(error))

    def _cut(self, refusal: Refusal) -> None:
        if not self._is_over:
            response = self._forwarding.cut(self._request, self._request_id, self._response, refusal)
            self._end(response, asyncio.CancelledError)

    def _end(self, response: ViewerResponse | None, raised: type[BaseException] | None = None) -> None:
        self._close(raised)
        self._ended(response)

    def _close(self, raised: type[BaseException] | None) -> None:
        self._is_over = True
        self._deadline.rest()
        if self._run is not None:
            self._run.finish()
        if self._reading is not None:
            self._reading.__exit__(raised, None, None)
        elif self._upstream is not None and self._response is not None:
            answers, is_whole = self._forwarding.answers, raised is None
            answers.take(self._settlement, self._request.method, self._upstream, self._whole, is_whole=is_whole)
        if self._sent is not None:
            self._sent.silence()
            # Kept for another call if the answer was read to its end; otherwise this ends the call at the origin.
            (self._upstream or self._sent).close()
            self._sent = None


def _arrived(content: StreamReader) -> bytes:
    """Return what has arrived of a body. aiohttp takes off each piece by itself, which is a tenth of what a stream takes."""
    # All that it counts it goes on counting itself, of one piece. Where an answer has no body, its reader has no pieces.
    pieces: deque[bytes] | None = getattr(content, "_buffer", None)
    if pieces is not None and len(pieces) > 1:
        joined = b"".join(pieces)
        pieces.clear()
        pieces.append(joined)
    return content.read_nowait()
