"""Errors of the simulated CloudFront itself, in a body that every SDK shows. On AWS these are CloudFront's error pages."""

from __future__ import annotations

from typing import Final

from aiohttp import ConnectionTimeoutError, web

from chalicelib.errors import Refusal
from local.simulator.origin_request_event import METHODS


class CloudFrontRefusal(Refusal):
    """An error of the simulated CloudFront itself. Its reason is its name in `ERRORS`."""


class MalformedHttp(
    CloudFrontRefusal,
    reason="malformed",
    error="malformed_request",
    status=400,
    text="the request is not valid HTTP",
):
    """The request is not valid HTTP. Correct it."""


class MalformedTarget(
    CloudFrontRefusal,
    reason="target",
    error="malformed_target",
    status=400,
    text="the request's target must be a path of visible ASCII characters, without '#'",
):
    """The request's target is not a plain path. Percent-encode it."""


class PlainHttp(
    CloudFrontRefusal,
    reason="plain_http",
    error="https_required",
    status=403,
    text="the request came in plain HTTP: use https",
):
    """The request came without TLS: a proxy in front says so, or it came past the proxies. Use https, and change what was sent."""


class UpgradeNotSupported(
    CloudFrontRefusal,
    reason="upgrade",
    error="upgrade_not_supported",
    status=400,
    text="WebSocket connections are not supported here; use HTTP",
):
    """The request asks for a WebSocket, of an edge that opens none. Use HTTP, or a gateway."""


class MalformedHandshake(
    CloudFrontRefusal,
    reason="handshake",
    error="malformed_request",
    status=400,
    text="the request asks for a WebSocket, and is not a handshake of version 13 (RFC 6455) and nothing else",
):
    """The request asks for a WebSocket in a form that not everybody reads alike. Use a client of RFC 6455."""


class BodyNotAllowed(
    CloudFrontRefusal,
    reason="body_not_allowed",
    error="body_not_allowed",
    status=403,
    text="a GET or HEAD request must not have a body",
):
    """A GET or HEAD request has a body. Omit it."""


class TransferCodingNotSupported(
    CloudFrontRefusal,
    reason="coding",
    error="transfer_coding_not_supported",
    status=400,
    text="a body must be sent with Content-Length or chunked, without any other transfer coding",
):
    """The body has a transfer coding other than chunked. Send it with its Content-Length."""


class MethodNotSupported(
    CloudFrontRefusal,
    reason="method",
    error="method_not_allowed",
    status=405,
    text="this method is not supported here",
):
    """CloudFront does not support the method; `Allow` lists those that it does."""

    def __init__(self) -> None:
        super().__init__(headers={"allow": ", ".join(sorted(METHODS))})


class BodyTimeout(
    CloudFrontRefusal,
    reason="slow",
    error="body_timeout",
    status=408,
    text="the request's body was not received in time",
):
    """The body was not received in time. Send it faster."""


class RequestTooLarge(
    CloudFrontRefusal,
    reason="too_large",
    error="request_too_large",
    status=413,
    text="the URL is over 8,192 bytes, or request line, headers and query together are over 20,480",
):
    """The URL or the headers are larger than CloudFront allows. Send less."""


class ExpectationFailed(
    CloudFrontRefusal,
    reason="expectation",
    error="expectation_failed",
    status=417,
    text="only the expectation 100-continue is supported",
):
    """The request's `Expect` is not 100-continue. Omit it."""


class EdgeFailed(
    CloudFrontRefusal,
    reason="function",
    error="edge_failed",
    status=502,
    text="the edge failed to process this request",
):
    """The edge function failed, or its result is malformed. Report it with the request id."""


class EdgeBusy(
    CloudFrontRefusal,
    reason="busy",
    error="edge_busy",
    status=503,
    text="too many large calls of this caller are waiting to be read",
    retryable=True,
):
    """As many large calls of this caller wait as may. Send fewer at once, or retry in a second."""

    def __init__(self) -> None:
        super().__init__(retry_after=1)


class NoRoomForBody(
    CloudFrontRefusal,
    reason="no_room",
    error="edge_busy",
    status=503,
    text="the grant limits models, so the whole body is read, and there is no room for it just now",
    retryable=True,
):
    """The grant limits models, and as many long bodies as there is room for are being read, or the disk is full. Retry."""

    def __init__(self) -> None:
        super().__init__(retry_after=1)


class BodyTooLong(
    CloudFrontRefusal,
    reason="too_long",
    error="request_too_large",
    status=413,
    text="the grant limits models, so the whole body is read, and it is over 1 GiB",
):
    """The grant limits models, and the body is over 1 GiB. Send less."""


class OriginUnreachable(
    CloudFrontRefusal,
    reason="origin",
    error="origin_unreachable",
    status=502,
    text="the provider could not be reached, or closed the connection without a response",
    retryable=True,
):
    """The provider could not be reached. Retry if the request may be repeated."""


class TooManyCalls(
    CloudFrontRefusal,
    reason="too_many_calls",
    error="too_many_calls",
    status=503,
    text="too many calls are under way here; try again",
    retryable=True,
):
    """This machine's edge has as many calls under way as it can hold. The call was not counted. Retry."""

    def __init__(self) -> None:
        super().__init__(retry_after=1)


class StateSlow(
    CloudFrontRefusal,
    reason="state_slow",
    error="temporarily_unavailable",
    status=503,
    text="the gateway's tables did not answer in time; try again",
    retryable=True,
):
    """The gateway's tables are slow or out of reach. The call was not sent. Retry in a second."""

    def __init__(self) -> None:
        super().__init__(retry_after=1)


class OriginTimeout(
    CloudFrontRefusal,
    reason="timeout",
    error="origin_timeout",
    status=504,
    text="the provider did not respond in time, and may still be at work; stream long answers instead of repeating the call",
):
    """The provider was silent for too long, and may still be at work. Stream long answers; a repetition is billed again."""


ERRORS: Final = {error.reasons[0]: error for error in CloudFrontRefusal.__subclasses__()}
"""Each error, by its name."""


def error_name(request: web.BaseRequest, error: BaseException) -> str:
    """Return the name in `ERRORS` of what became of a call that was sent on, or could not be."""
    if request.content.exception() is not None:
        return "malformed"  # the viewer's body broke off or could not be parsed
    # Without a connection nothing is under way at the provider, so that it may be tried again.
    late = isinstance(error, TimeoutError) and not isinstance(error, ConnectionTimeoutError)
    return "timeout" if late else "origin"


def location(error: BaseException) -> str:
    """Return where it was raised, as `function:line`."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "?" if trace is None else f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
