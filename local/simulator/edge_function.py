"""The edge function as a distribution calls it: by events, as Lambda@Edge does, or without any, over the same rules."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from chalicelib.edge.admission import Begun
from chalicelib.edge.door import Answer, EdgeDoor, OnItsWay, Request
from local.simulator.function_result import (
    GeneratedResponse,
    OriginRequest,
    direct_result,
    parse_result,
    protected_headers,
)
from local.simulator.lambda_context import LambdaContext
from local.simulator.origin import MAX_READ_TIMEOUT
from local.simulator.origin_request_event import Event, make_event

Handler = Callable[[Event, LambdaContext], dict[str, Any]]
"""What Lambda@Edge runs."""
Decide = Callable[[Request, str], OriginRequest | GeneratedResponse]
"""Returns what becomes of a request with this id; raises MalformedResultError, and whatever the function raises."""

FUNCTION_TIMEOUT: Final = 30.0  # seconds, as at Lambda@Edge; only in the context, as the function is quick


def of(function: Handler | EdgeDoor, read_timeout: int) -> Decide:
    """Return how a function decides. read_timeout: seconds, of the distribution's own origin."""
    longest = max(MAX_READ_TIMEOUT, read_timeout)
    if isinstance(function, EdgeDoor):
        return Direct(function, read_timeout, longest)
    return _by_events(function, read_timeout, longest)


class Direct:
    """A `Decide` without events, which may also be taken in two steps, between which the call is counted with others."""

    def __init__(self, door: EdgeDoor, read_timeout: int, longest: int) -> None:
        """Times are seconds: see `direct_result`."""
        self._door, self._read_timeout, self._longest = door, read_timeout, longest

    def __call__(self, request: Request, request_id: str) -> OriginRequest | GeneratedResponse:
        """Return what becomes of a request."""
        return self._result(self._door.serve(request_id, lambda: request), request)

    def begin(self, request: Request, request_id: str) -> Begun | OriginRequest | GeneratedResponse:
        """Return what becomes of a request that is not counted, or one that is to be."""
        begun = self._door.begin(request_id, request)
        return begun if isinstance(begun, Begun) else self._result(begun, request)

    def finish(self, request: Request, request_id: str, begun: Begun) -> OriginRequest | GeneratedResponse:
        """Return what becomes of a request that was begun."""
        return self._result(self._door.finish(request_id, request, begun), request)

    def _result(self, result: OnItsWay | Answer, request: Request) -> OriginRequest | GeneratedResponse:
        known = request.known
        if known is not None and isinstance(known.form, OriginRequest) and isinstance(result, OnItsWay):
            return known.form  # it is what was made of this very result (KnownCall.goes_on)
        found = direct_result(result, request.method, self._read_timeout, self._longest)
        if known is not None and isinstance(found, OriginRequest):
            known.form = found
        return found


def _by_events(handler: Handler, read_timeout: int, longest: int) -> Decide:
    def decide(request: Request, request_id: str) -> OriginRequest | GeneratedResponse:
        event = make_event(request, request_id, read_timeout)
        protected = protected_headers(event["Records"][0]["cf"]["request"]["headers"])
        context = LambdaContext(request_id, time.monotonic() + FUNCTION_TIMEOUT, "keybroker-edge", "1")
        return parse_result(handler(event, context), request.method, protected, longest)

    return decide
