"""Door: CloudFront's origin-request. A call with a token comes in, the call with the key goes on to the provider."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Self

from chalicelib.aws import config
from chalicelib.aws.round_trip import whole_call
from chalicelib.edge import admission, door
from chalicelib.edge.call import Admitted
from chalicelib.edge.door import WELL_KNOWN, Answer, EdgeDoor, OnItsWay, Request
from chalicelib.edge.errors import EventMalformed
from chalicelib.edge.headers import Headers
from chalicelib.models.body import CallBody

_TIMEOUTS = ("keepaliveTimeout", "readTimeout")
"""What an origin's place in the distribution says of waiting, in seconds; a raised quota is known there alone."""


class Ports(door.Ports):
    """What the handler needs, with the clock and the log of a function."""

    __slots__ = ()

    def __new__(
        cls,
        edge: admission.Edge,
        clock: Callable[[], int] = lambda: int(time.time()),
        log: Callable[[str], None] = print,
        admitted: Callable[[str, Admitted], None] = lambda _request_id, _admitted: None,
        bounded: Callable[[], AbstractContextManager[None]] | None = None,
    ) -> Self:
        """Take the parts."""
        return super().__new__(cls, edge, clock, log, admitted, bounded)


def make_handler(
    ports: Callable[[], Ports], log: Callable[[str], None] = print
) -> Callable[[Mapping[str, Any], object], dict[str, Any]]:
    """Wire the handler. ports: called at the first event, and again after a fault. log: used while there are no ports."""
    served = EdgeDoor(ports, log)

    def handle(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
        """Return the request to send on, or the answer that refuses it."""
        try:
            with _READING:
                cloudfront = event["Records"][0]["cf"]
                request_id, request = str(cloudfront["config"]["requestId"]), cloudfront["request"]
        except EventMalformed as refusal:
            return _answer(served.refuse(refusal, "-"))
        result = served.serve(request_id, functools.partial(_read, request))
        return _answer(result) if isinstance(result, Answer) else _changed(request, result)

    return handle


class _Reading:
    """A block that raises EventMalformed where an event is none of CloudFront's. A generator would take twice as long."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, fault: BaseException | None, _where: object) -> None:
        if isinstance(fault, KeyError | IndexError | TypeError | AttributeError):
            # SECURITY: the kind of fault, never its text, which may hold a header (test_a_malformed_event_is_a_503).
            raise EventMalformed(aws_code=type(fault).__name__) from None


_READING = _Reading()


def _read(request: Mapping[str, Any]) -> Request:
    with _READING:
        texts = [request[name] for name in ("method", "uri", "querystring", "clientIp")]
        if not all(isinstance(one, str) for one in texts):
            raise TypeError
        method, uri, query, address = texts
        if not uri.startswith(WELL_KNOWN):
            _timeouts(request)  # an event without them is not counted
        headers = Headers.from_event(request["headers"])
        return Request(method, uri, query, headers, address, CallBody.from_request(request))


def _timeouts(request: Mapping[str, Any]) -> dict[str, int]:
    custom = request["origin"]["custom"]
    return {name: custom[name] for name in _TIMEOUTS}


def _changed(request: Mapping[str, Any], result: OnItsWay) -> dict[str, Any]:
    """Return the event's request as it is to be sent on."""
    origin = result.origin
    custom: dict[str, Any] = {
        "customHeaders": {},
        "domainName": origin.domain,
        "path": "",
        "port": origin.port,
        "protocol": origin.protocol,
        "sslProtocols": ["TLSv1.2"],
        **_timeouts(request),
    }
    return {
        **request,
        **_unchanged_body(request),
        "uri": result.path,
        "querystring": result.query,
        "headers": result.headers.to_event(),
        "origin": {"custom": custom},
    }


def _unchanged_body(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the member `body` without its data: CloudFront sends on the whole body that it has, and not what it showed."""
    body = request.get("body")
    return {"body": {**body, "action": "read-only", "data": ""}} if isinstance(body, Mapping) else {}


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "status": str(answer.status),
        "headers": {name: [{"key": name, "value": value}] for name, value in answer.headers.items()},
        "body": answer.body,
        "bodyEncoding": "text",
    }


@functools.cache
def _on_aws() -> Ports:
    return Ports(*config.edge_on_aws(ahead=True), bounded=whole_call)


def start() -> None:
    """Connect and read the signing keys before the first call comes; what fails here, the first call does."""
    with contextlib.suppress(Exception):  # the function has started all the same, and the first call says what is wrong
        _on_aws()


handler = make_handler(_on_aws)
"""What Lambda@Edge runs."""
