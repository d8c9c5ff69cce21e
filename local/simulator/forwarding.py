"""Requests on their way to an origin, and the responses on their way back: streamed both ways, and ended if they must not run on."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from aiohttp import ClientError, web
from yarl import URL

from chalicelib.edge import provider_addresses
from local.simulator import web_sockets
from local.simulator.answer_tally import AnswerTally
from local.simulator.cloudfront_errors import error_name
from local.simulator.deadline import Deadline
from local.simulator.function_result import HeaderList, OriginRequest
from local.simulator.origin_body import CHUNK, chunks, whole_body
from local.simulator.origin_client import BrokenConnectionError, OriginClient, Sending
from local.simulator.origin_exchange import OriginAnswer, OriginCall
from local.simulator.running_calls import RunningCalls
from local.simulator.settlements import Settlement, Settlements
from local.simulator.unsent import Unsent
from local.simulator.viewer_response import (
    ViewerResponse,
    close_after_chunked_request,
    ended_response,
    error_response,
    unread,
)

_LOG: Final = logging.getLogger("local.simulator.cloudfront")


class Accounts(NamedTuple):
    """What is known of calls that are on their way: whether anything was sent, what must end, what answers took, what is to be settled."""

    unsent: Unsent
    running: RunningCalls
    answers: AnswerTally
    settlements: Settlements


class Forwarding:
    """What sends the requests of one distribution on. `close()` it at the end."""

    def __init__(self, client: OriginClient, accounts: Accounts, url: str, *, silence: bool = False) -> None:
        """url: the edge's own; with it, providers' addresses of their own in answers become the edge's.

        silence: whether a provider may be silent for as long as it likes, whatever the edge function says.
        """
        self._client, self._url, self._silence = client, url, silence
        self._unsent, self._running, self._answers, self._settlements = accounts

    async def close(self) -> None:
        """Close the connections to origins."""
        await self._client.close()

    async def forward(self, request: web.BaseRequest, origin_request: OriginRequest, request_id: str) -> ViewerResponse:
        """Return the response to a request, which was sent as it arrived."""
        settlement = self._settlements.of(self._unsent.admission(request_id))
        try:
            return await self._forward(request, origin_request, request_id, settlement)
        finally:
            if self._unsent.admission(request_id) is None:  # it was sent, or else it is given back
                settlement.end()

    async def _forward(
        self, request: web.BaseRequest, origin_request: OriginRequest, request_id: str, settlement: Settlement
    ) -> ViewerResponse:
        response: ViewerResponse | None = None
        run = self._running.run(request_id, settlement.admitted, ends_with_token=web_sockets.are_asked(request))
        try:
            with Deadline(self._seconds(origin_request)) as deadline, run or contextlib.nullcontext():
                origin_request.headers.append(("X-Amz-Cf-Id", request_id))
                upstream = await self._send(request, origin_request, deadline, request_id)
                settlement.answered(upstream.status)
                try:
                    response = ViewerResponse(
                        upstream.status, upstream.reason or "", self._headers(request, origin_request, upstream)
                    )
                    with self._answers.reading(settlement, request.method, upstream) as feed:
                        await _answer(request, upstream, response, deadline, feed)
                finally:
                    # Back in the pool if it was read to its end; otherwise (disconnect, error) this ends the call at the origin.
                    upstream.close()
        except (TimeoutError, ClientError, OSError, ValueError) as error:
            if not is_disconnected(request):
                host = URL(origin_request.address).host
                _LOG.warning("request %s: origin %s: %s", request_id, host, type(error).__name__)
                settlement.failed()
            if response is None:
                return unread(request, error_response(error_name(request, error), request_id))
            response.abort(request)
        except asyncio.CancelledError:
            if run is None or (refusal := run.ended_by()) is None:
                raise
            if response is None:
                return unread(request, ended_response(refusal, request_id, self._url))
            response.why = refusal.reason
            # SECURITY: the viewer must see that this is not the whole answer (test_a_revoked_answer_breaks_off).
            response.abort(request)
        return response

    def _seconds(self, origin_request: OriginRequest) -> float | None:
        """Return for how long an origin may be silent, None for as long as it likes; the broker may not."""
        return None if self._silence and not origin_request.to_broker else origin_request.read_timeout

    def _headers(self, request: web.BaseRequest, origin_request: OriginRequest, upstream: OriginAnswer) -> HeaderList:
        """Return the origin's headers, as a function at viewer-response changes them."""
        headers = upstream.end_to_end_headers()
        if not self._url or origin_request.to_broker or upstream.headers.keys().isdisjoint(provider_addresses.NAMES):
            return headers
        key = request.raw_path.split("/", 2)[1]
        return provider_addresses.on_the_edge(headers, origin_request.address, f"{self._url}/{key}")

    async def _send(
        self, request: web.BaseRequest, origin_request: OriginRequest, deadline: Deadline, request_id: str
    ) -> OriginAnswer:
        # SECURITY: from its connection on a call stays counted, or a limit could be exceeded
        # (test_a_call_that_was_sent_stays_counted).
        sent = functools.partial(self._unsent.sent, request_id)
        whole, is_web_socket = whole_body(request), web_sockets.are_asked(request)
        call = OriginCall(
            request.method,
            origin_request.address,
            origin_request.target,
            origin_request.headers + [*web_sockets.UPGRADE] * is_web_socket,
            functools.partial(chunks, request, deadline) if whole is None else whole,
        )
        upstream = await self._client.send(call, Sending(deadline, sent, has_stream=whole is None))
        if upstream.status < 200 and not (is_web_socket and web_sockets.is_accepted(request, upstream)):
            upstream.close()
            raise BrokenConnectionError  # it switches protocols, which was not requested, or not so
        return upstream


async def _answer(
    request: web.BaseRequest,
    upstream: OriginAnswer,
    response: ViewerResponse,
    deadline: Deadline,
    feed: Callable[[bytes], None],
) -> None:
    """Send the origin's response on as it arrives, each chunk at once; or let it become a WebSocket.

    feed: is shown each chunk once it was sent.
    """
    if upstream.status == web_sockets.SWITCHING:
        await web_sockets.join(request, upstream, response, feed)
        return
    close_after_chunked_request(request, response)
    content = upstream.content
    chunk = content.read_nowait()  # what has already arrived; the head goes at once, even without
    while True:
        is_last = content.at_eof()
        response.send(request, chunk, is_last=is_last)
        if request.protocol.writing_paused:
            deadline.body_moves()
            await request.writer.drain()
        feed(chunk)
        if is_last:
            return
        deadline.waits_for_origin()
        chunk = await content.read(CHUNK)  # bounded, so that little is buffered for a viewer that reads slowly


def is_disconnected(request: web.BaseRequest) -> bool:
    """Return whether the viewer has disconnected: writes to it then fail before aiohttp cancels the handler."""
    return request.transport is None or request.transport.is_closing()
