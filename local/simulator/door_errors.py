"""What the simulated CloudFront answers for itself, in the body that every SDK shows. On AWS these are CloudFront's pages."""

from __future__ import annotations

from typing import Final

from chalicelib.errors import Refusal
from local.simulator.origin_request_event import METHODS


class DoorRefusal(Refusal):
    """An error of the simulated CloudFront itself. Its reason is the name by which the door picks it: `DOOR_ERRORS`."""


class MalformedHttp(
    DoorRefusal,
    reason="malformed",
    error="malformed_request",
    status=400,
    text="the request is not valid HTTP",
):
    """The request is not valid HTTP. Correct it."""


class MalformedTarget(
    DoorRefusal,
    reason="target",
    error="malformed_target",
    status=400,
    text="the request's target must be a path of visible ASCII characters, without '#'",
):
    """The request's target is not a plain path. Percent-encode it."""


class UpgradeNotSupported(
    DoorRefusal,
    reason="upgrade",
    error="upgrade_not_supported",
    status=400,
    text="WebSocket connections are not served here; use HTTP",
):
    """The request asks for a WebSocket. Use HTTP."""


class BodyNotAllowed(
    DoorRefusal,
    reason="body_not_allowed",
    error="body_not_allowed",
    status=403,
    text="a GET or HEAD request must not have a body",
):
    """A GET or HEAD request has a body. Leave it out."""


class TransferCodingNotSupported(
    DoorRefusal,
    reason="coding",
    error="transfer_coding_not_supported",
    status=400,
    text="a body is taken with its Content-Length or in chunks, in no other transfer coding",
):
    """The body has a transfer coding other than chunked. Send it with its Content-Length."""


class MethodNotServed(
    DoorRefusal,
    reason="method",
    error="method_not_allowed",
    status=405,
    text="this method is not served here",
):
    """The method is not one that CloudFront serves; `Allow` lists them."""

    def __init__(self) -> None:
        super().__init__(headers={"allow": ", ".join(sorted(METHODS))})


class BodyTimeout(
    DoorRefusal,
    reason="slow",
    error="body_timeout",
    status=408,
    text="the request's body did not arrive in time",
):
    """The body did not arrive in time. Send it faster."""


class RequestTooLarge(
    DoorRefusal,
    reason="too_large",
    error="request_too_large",
    status=413,
    text="the URL is over 8,192 bytes, or request line, headers and query together are over 20,480",
):
    """The URL or the headers are larger than CloudFront takes. Send less."""


class ExpectationFailed(
    DoorRefusal,
    reason="expectation",
    error="expectation_failed",
    status=417,
    text="only the expectation 100-continue is known here",
):
    """The request's `Expect` is not 100-continue. Leave it out."""


class EdgeFailed(
    DoorRefusal,
    reason="function",
    error="edge_failed",
    status=502,
    text="the edge could not decide about this request",
):
    """The edge function failed, or its result is malformed. Report it with the request id."""


class OriginUnreachable(
    DoorRefusal,
    reason="origin",
    error="origin_unreachable",
    status=502,
    text="the provider could not be reached, or closed the connection without an answer",
    retryable=True,
):
    """The provider could not be reached. Retry if the request may be repeated."""


class OriginTimeout(
    DoorRefusal,
    reason="timeout",
    error="origin_timeout",
    status=504,
    text="the provider did not answer in time",
    retryable=True,
):
    """The provider did not answer in time. Retry if the request may be repeated."""


DOOR_ERRORS: Final = {one.reasons[0]: one for one in DoorRefusal.__subclasses__()}
"""Each error, by its name."""
