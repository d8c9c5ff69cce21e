"""Answers to the viewer, written as they are: the origin's streamed on, the function's, and the door's own errors."""

import json
import socket
import struct
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final

from aiohttp import StreamReader, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion10, HttpVersion11

from local.edge_result import HeaderList

_NO_BODY: Final = frozenset({204, 304})
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s: close() resets


class ViewerResponse(web.StreamResponse):
    """One answer, with exactly the given headers; only framing, `Connection` and a missing `Date` are added.

    aiohttp's own class would add `Server` and `Content-Type` to what the origin said. `write_eof()` sends `body`.
    """

    def __init__(self, status: int, reason: str, headers: HeaderList, body: bytes = b"") -> None:
        super().__init__(status=status, reason=reason, headers=headers)
        self._whole_body = body
        self._silent = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Frame the answer for this request and hand its head to the writer, which holds it until the first chunk."""
        if self.prepared:
            return self._payload_writer
        out = self._payload_writer = request.writer
        headers = self.headers
        self._silent = request.method == hdrs.METH_HEAD or self.status in _NO_BODY
        if self.status == 204:
            headers.popall(hdrs.CONTENT_LENGTH, None)
        if not self._silent and hdrs.CONTENT_LENGTH not in headers:
            if request.version >= HttpVersion11:
                out.enable_chunking()
                headers[hdrs.TRANSFER_ENCODING] = "chunked"
            else:
                self.force_close()
        self._keep_alive = request.keep_alive and self.keep_alive is not False
        if not self._keep_alive:
            headers[hdrs.CONNECTION] = "close"
        elif request.version == HttpVersion10:
            headers[hdrs.CONNECTION] = "keep-alive"
        if hdrs.DATE not in headers:
            headers[hdrs.DATE] = formatdate(usegmt=True)
        version = request.version
        await out.write_headers(f"HTTP/{version[0]}.{version[1]} {self.status} {self.reason}", headers)
        return out

    async def write_eof(self, data: bytes = b"") -> None:
        """End the answer; called once more by aiohttp, which then does nothing."""
        await super().write_eof(b"" if self._silent else data or self._whole_body)

    async def begin(self, request: web.BaseRequest, content: StreamReader) -> None:
        """Send the head at once, in one packet with what has already come of the body."""
        out = await self.prepare(request)
        if out is None or self._silent:
            return
        chunk = content.read_nowait()
        if content.at_eof():
            await self.write_eof(chunk)
        elif chunk:
            await out.write(chunk)
        else:
            out.send_headers()

    def abort(self, request: web.BaseRequest) -> None:
        """Break the viewer's connection, so that half an answer is not taken for a whole one."""
        self.force_close()
        self._eof_sent = True
        transport = request.transport
        if transport is None:
            return
        if request.version < HttpVersion11:
            # Here only the end of the connection ends the body, so it must not end in good order.
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()


@dataclass(frozen=True, slots=True)
class DoorError:
    """An error of the door itself, in the words of each kind of SDK."""

    status: int
    reason: str
    kind: str
    code: str
    rpc_status: str
    message: str


_INVALID: Final = "invalid_request_error"
DOOR_ERRORS: Final = {
    "malformed": DoorError(
        400, "Bad Request", _INVALID, "malformed_request", "INVALID_ARGUMENT", "The request is not valid HTTP."
    ),
    "target": DoorError(
        400,
        "Bad Request",
        _INVALID,
        "malformed_target",
        "INVALID_ARGUMENT",
        "The request's target must be a path of visible ASCII characters, without '#'.",
    ),
    "upgrade": DoorError(
        400,
        "Bad Request",
        _INVALID,
        "upgrade_not_supported",
        "INVALID_ARGUMENT",
        "WebSocket connections are not served here; use HTTP.",
    ),
    "body_not_allowed": DoorError(
        403,
        "Forbidden",
        _INVALID,
        "body_not_allowed",
        "INVALID_ARGUMENT",
        "A GET or HEAD request must not have a body.",
    ),
    "method": DoorError(
        405, "Method Not Allowed", _INVALID, "method_not_allowed", "UNIMPLEMENTED", "This method is not served here."
    ),
    "too_large": DoorError(
        413,
        "Request Entity Too Large",
        _INVALID,
        "request_too_large",
        "INVALID_ARGUMENT",
        "The URL is over 8,192 bytes, or request line, headers and query together are over 20,480.",
    ),
    "expectation": DoorError(
        417,
        "Expectation Failed",
        _INVALID,
        "expectation_failed",
        "INVALID_ARGUMENT",
        "Only the expectation 100-continue is known here.",
    ),
    "function": DoorError(
        502, "Bad Gateway", "api_error", "edge_failed", "UNAVAILABLE", "The edge could not decide about this request."
    ),
    "origin": DoorError(
        502,
        "Bad Gateway",
        "api_error",
        "origin_unreachable",
        "UNAVAILABLE",
        "The provider could not be reached, or closed the connection without an answer.",
    ),
    "timeout": DoorError(
        504,
        "Gateway Timeout",
        "api_error",
        "origin_timeout",
        "DEADLINE_EXCEEDED",
        "The provider did not answer in time.",
    ),
}


def door_response(name: str, request_id: str) -> ViewerResponse:
    """The answer for `DOOR_ERRORS[name]`: the body that every SDK shows, with the request id that finds the log line."""
    error = DOOR_ERRORS[name]
    shown = {
        "message": error.message,
        "type": error.kind,
        "param": None,
        "code": error.code,
        "status": error.rpc_status,
    }
    body = json.dumps({"type": "error", "error": shown, "request_id": request_id}).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("x-request-id", request_id),
        ("request-id", request_id),
    ]
    if error.status < 500:
        headers.append(("x-should-retry", "false"))
    return ViewerResponse(error.status, error.reason, headers, body)
