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
from chalicelib.errors import Refusal
from local.simulator import web_sockets
from local.simulator.answer_tally import AnswerTally
from local.simulator.cloudfront_errors import error_name
from local.simulator.deadline import Deadline
from local.simulator.function_result import OriginRequest
from local.simulator.http_head import Fields
from local.simulator.origin_body import CHUNK, chunks, whole_body
from local.simulator.origin_client import OriginClient
from local.simulator.origin_exchange import REQUEST_ID, OriginAnswer, OriginCall
from local.simulator.running_calls import Run, RunningCalls
from local.simulator.sending import BrokenConnectionError, Sending
from local.simulator.settlements import Settlement, Settlements
from local.simulator.unsent import Unsent
from local.simulator.viewer_response import (
    ViewerResponse,
    close_after_chunked_request,
    ended_response,
    error_response,
    unread,
)

FAILURES: Final = (TimeoutError, ClientError, OSError, ValueError)
"""What may become of a call on its way, all of which a viewer is told."""
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
        self.client, self._url, self._silence = client, url, silence
        self.unsent, self._running, self.answers, self._settlements = accounts

    async def close(self) -> None:
        """Close the connections to origins."""
        await self.client.close()

    def settlement(self, request_id: str) -> Settlement:
        """Return what is to be settled of a call that was admitted. Ask before it is sent."""
        return self._settlements.of(self.unsent.admission(request_id))

    def settle(self, request_id: str, settlement: Settlement) -> None:
        """Settle a call that has ended."""
        if self.unsent.admission(request_id) is None:  # it was sent, or else it is given back
            settlement.end()

    async def forward(
        self,
        request: web.BaseRequest,
        origin_request: OriginRequest,
        request_id: str,
        settlement: Settlement | None = None,
    ) -> ViewerResponse:
        """Return the response to a request, which was sent as it arrived.

        settlement: of one that was sent before on a connection that broke; it goes on a new one.
        """
        is_repeated = settlement is not None
        settlement = settlement or self.settlement(request_id)
        try:
            return await self._forward(request, origin_request, request_id, settlement, is_repeated=is_repeated)
        finally:
            self.settle(request_id, settlement)

    async def _forward(
        self,
        request: web.BaseRequest,
        origin_request: OriginRequest,
        request_id: str,
        settlement: Settlement,
        *,
        is_repeated: bool,
    ) -> ViewerResponse:
        response: ViewerResponse | None = None
        run = self.run(request_id, settlement, ends_with_token=web_sockets.are_asked(request))
        try:
            with Deadline(self.seconds(origin_request)) as deadline, run or contextlib.nullcontext():
                upstream = await self._send(request, origin_request, deadline, request_id, is_repeated=is_repeated)
                settlement.answered(upstream.status)
                try:
                    response = self.response(request, origin_request, upstream)
                    with self.answers.reading(settlement, request.method, upstream) as feed:
                        await _answer(request, upstream, response, deadline, feed)
                finally:
                    # Back in the pool if it was read to its end; otherwise (disconnect, error) this ends the call at the origin.
                    upstream.close()
        except FAILURES as error:
            return self.failed(request, origin_request, request_id, settlement, response, error)
        except asyncio.CancelledError:
            if run is None or (refusal := run.ended_by()) is None:
                raise
            return self.cut(request, request_id, response, refusal)
        return response

    def run(self, request_id: str, settlement: Settlement, *, ends_with_token: bool = False) -> Run | None:
        """Return a call to be kept while it is under way."""
        return self._running.run(request_id, settlement.admitted, ends_with_token=ends_with_token)

    def seconds(self, origin_request: OriginRequest) -> float | None:
        """Return for how long an origin may be silent, None for as long as it likes; the broker may not."""
        return None if self._silence and not origin_request.to_broker else origin_request.read_timeout

    def failed(  # noqa: PLR0913, PLR0917  what is known of a call
        self,
        request: web.BaseRequest,
        origin_request: OriginRequest,
        request_id: str,
        settlement: Settlement,
        response: ViewerResponse | None,
        error: BaseException,
    ) -> ViewerResponse:
        """Return the response to a call that failed on its way; one that has begun is broken off."""
        if not is_disconnected(request):
            host = URL(origin_request.address).host
            _LOG.warning("request %s: origin %s: %s", request_id, host, type(error).__name__)
            settlement.failed()
        if response is not None:
            response.abort(request)
            return response
        name = error_name(request, error) if isinstance(error, FAILURES) else "function"
        return unread(request, error_response(name, request_id))

    def cut(
        self, request: web.BaseRequest, request_id: str, response: ViewerResponse | None, refusal: Refusal
    ) -> ViewerResponse:
        """Return the response to a call that must not run on; one that has begun is broken off."""
        if response is None:
            return unread(request, ended_response(refusal, request_id, self._url))
        response.why = refusal.reason
        # SECURITY: the viewer must see that this is not the whole answer (test_a_revoked_answer_breaks_off).
        response.abort(request)
        return response

    def response(
        self, request: web.BaseRequest, origin_request: OriginRequest, upstream: OriginAnswer
    ) -> ViewerResponse:
        """Return the origin's response, its headers as a function at viewer-response changes them."""
        fields = upstream.end_to_end_headers()
        if self._url and not (origin_request.to_broker or fields.names.isdisjoint(provider_addresses.NAMES)):
            key = request.raw_path.split("/", 2)[1]
            mapped = provider_addresses.on_the_edge(fields.pairs(), origin_request.address, f"{self._url}/{key}")
            fields = Fields.of(mapped)
        return ViewerResponse(upstream.status, upstream.reason or "", fields)

    async def _send(
        self,
        request: web.BaseRequest,
        origin_request: OriginRequest,
        deadline: Deadline,
        request_id: str,
        *,
        is_repeated: bool,
    ) -> OriginAnswer:
        # SECURITY: from its connection on a call stays counted, or a limit could be exceeded
        # (test_a_call_that_was_sent_stays_counted).
        sent = functools.partial(self.unsent.sent, request_id)
        whole, is_web_socket = whole_body(request), web_sockets.are_asked(request)
        call = OriginCall(
            request.method,
            origin_request.address,
            origin_request.target,
            [*origin_request.headers, (REQUEST_ID, request_id), *web_sockets.UPGRADE * is_web_socket],
            functools.partial(chunks, request, deadline) if whole is None else whole,
        )
        sending = Sending(deadline, sent, has_stream=whole is None)
        sending.is_repeated = is_repeated
        upstream = await self.client.send(call, sending)
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
