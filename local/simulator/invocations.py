"""How a distribution invokes its edge function: at once, with others, in a thread for a body that takes long, or for a network."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from aiohttp import web

from chalicelib.edge.admission import Begun
from chalicelib.edge.door import Request
from chalicelib.edge.known_calls import KnownCall
from chalicelib.models.body import CallBody
from chalicelib.providers import paths
from local.simulator import web_sockets
from local.simulator.broker_cache_behaviour import BrokerCacheBehaviour
from local.simulator.cloudfront_errors import location
from local.simulator.connections import Connections
from local.simulator.counting_together import CountingTogether, ReadAndCountAll, give_back
from local.simulator.edge_function import Decide, Direct
from local.simulator.forwarding import is_disconnected
from local.simulator.function_result import GeneratedResponse, MalformedResultError, OriginRequest
from local.simulator.include_body import BUFFERED, INCLUDED_BYTES, NotInvokedError, included_body, receive
from local.simulator.known_heads import KnownHead
from local.simulator.long_invocations import LONG_THREADS, LongInvocations, caller, takes_long
from local.simulator.origin_request_event import received, request_error
from local.simulator.unsent import Unsent
from local.simulator.viewer_response import ViewerResponse, error_response
from local.simulator.waiting_invocations import WaitingInvocations
from local.simulator.whole_bodies import WholeBodies

NeedsWholeBody = Callable[[Request], bool]
_LOG: Final = logging.getLogger("local.simulator.cloudfront")


class Invocations:
    """Those of one distribution. `close()` it at the end.

    broker, over_network, read_and_count_all and needs_whole_body: see the options of a distribution.
    """

    def __init__(  # noqa: PLR0913  its parts
        self,
        decide: Decide,
        broker: str | None,
        places: Connections,
        unsent: Unsent,
        *,
        over_network: bool,
        read_and_count_all: ReadAndCountAll | None,
        needs_whole_body: NeedsWholeBody | None,
    ) -> None:
        self.decide, self._places, self._unsent = decide, places, unsent
        self._broker = None if broker is None else BrokerCacheBehaviour(broker)
        self._waiting = WaitingInvocations() if over_network else None
        self._long = LongInvocations(WaitingInvocations(LONG_THREADS) if over_network else None)
        self._together = None if read_and_count_all is None else CountingTogether(read_and_count_all)
        self._needs_whole_body, self._whole_bodies = needs_whole_body, WholeBodies()

    def close(self) -> None:
        """End the threads."""
        self._long.close()
        if self._waiting is not None:
            self._waiting.close()

    @property
    def are_at_once(self) -> bool:
        """Whether the function waits for no network."""
        return self._waiting is None

    def head(self, request: web.BaseRequest) -> KnownHead | None:
        """Return what is to be known of the head of a plain call; None for any other request."""
        if request_error(request) is not None:
            return None
        asked = received(request)
        if self._broker is not None and self._broker.origin_request(asked) is not None:
            return None
        return KnownHead(asked._replace(known=KnownCall()), included_body(request, asked.headers))

    async def invoke(self, request: web.BaseRequest, request_id: str) -> OriginRequest | GeneratedResponse:
        """Return what becomes of a request without a `request_error`; raises NotInvokedError, and whatever the function raises."""
        asked = received(request)
        to_broker = None if self._broker is None else self._broker.origin_request(asked)
        if to_broker is not None:
            return to_broker
        if web_sockets.are_asked(request):
            # SECURITY: what reads opens no conversation (test_a_get_scope_opens_no_web_socket).
            asked = asked._replace(headers=web_sockets.with_token(asked.headers), method=paths.WEB_SOCKET)
        await receive(request)
        if is_disconnected(request):
            raise NotInvokedError("malformed")  # nobody will see the answer
        whole = await self._whole(request, asked) if len(request.get(BUFFERED, b"")) > INCLUDED_BYTES else None

        def invoke() -> OriginRequest | GeneratedResponse:
            self.check_places()
            return self.decide(asked._replace(body=whole or included_body(request, asked.headers)), request_id)

        # SECURITY: a body that takes long to read holds up nobody else's call
        # (test_a_call_completes_while_a_body_is_read).
        if takes_long(request.get(BUFFERED, b"")):
            return await self._long.run(caller(request), invoke)
        if self._waiting is not None:
            return await self._waiting.run(invoke)
        if (grouping := self.grouping()) is None:
            return invoke()
        shown = asked._replace(body=included_body(request, asked.headers))
        return await self._invoke_together(*grouping, shown, request_id)

    def grouping(self) -> tuple[Direct, CountingTogether] | None:
        """Return what decides, and what counts, if a call is to be counted with others that come in the same turn."""
        if self._together is None or not isinstance(self.decide, Direct):
            return None
        return (self.decide, self._together) if self._together.is_worth_it(self._unsent.under_way) else None

    def check_places(self) -> None:
        """Raise NotInvokedError if no more calls may be under way."""
        # SECURITY: so many calls at once that no connection waits would leave a newcomer no place to take
        # (test_more_calls_than_places_are_refused).
        if self._places.is_busy:
            raise NotInvokedError("too_many_calls")

    async def _invoke_together(
        self, decide: Direct, together: CountingTogether, asked: Request, request_id: str
    ) -> OriginRequest | GeneratedResponse:
        """Decide on a call that is counted with those that come in the same turn of the event loop."""
        self.check_places()
        begun = decide.begin(asked, request_id)
        if not isinstance(begun, Begun):
            return begun
        # SECURITY: committed before anything of it is sent (test_nothing_is_sent_before_the_commit).
        await together.count(begun)
        return self.finish(decide, asked, request_id, begun)

    def finish(
        self, decide: Direct, asked: Request, request_id: str, begun: Begun
    ) -> OriginRequest | GeneratedResponse:
        """Return what becomes of a call that was counted with others; raises as `check_places`."""
        try:
            self.check_places()  # others of its group may have taken the last of them
        except NotInvokedError:
            give_back(begun)
            raise
        return decide.finish(asked, request_id, begun)

    async def _whole(self, request: web.BaseRequest, asked: Request) -> CallBody | None:
        """Receive a long body whole if its call is decided by what may come last, and return its outline."""
        needs_whole_body = self._needs_whole_body
        if needs_whole_body is None:
            return None
        whose = caller(request)
        if not await self._long.run(whose, lambda: needs_whole_body(asked)):
            return None
        return await self._whole_bodies.receive(request, whose, included_body(request, asked.headers))


def not_decided(error: Exception, request_id: str) -> ViewerResponse:
    """Return the response where the function was not invoked, or raised, or has no result."""
    if isinstance(error, NotInvokedError):
        return error_response(error.name, request_id)
    if isinstance(error, MalformedResultError):
        _LOG.error("request %s: the edge function returned a malformed result: %s", request_id, error)
    else:
        # SECURITY: its text is neither sent nor logged (test_exception_in_the_function_is_a_502).
        _LOG.error("request %s: the edge function raised %s at %s", request_id, type(error).__name__, location(error))
    return error_response("function", request_id)
