"""Responses to the viewer, written exactly as they are: the origin's, the function's, and CloudFront's own errors."""

import socket
import struct
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from aiohttp import StreamReader, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion10, HttpVersion11

from chalicelib.edge import refusal as edge_refusal
from chalicelib.errors import Refusal
from local.simulator.cloudfront_errors import ERRORS
from local.simulator.function_result import HeaderList

_NO_BODY: Final = frozenset({204, 304})
_SPELLED: Final = {"content-type": "Content-Type", "content-length": "Content-Length", "cache-control": "Cache-Control"}
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s: close() resets


class ViewerResponse(web.StreamResponse):
    """A response with exactly the given headers; only framing, `Connection` and a missing `Date` are added.

    aiohttp's own class would add `Server` and `Content-Type` to the origin's headers. `write_eof()` sends `body`.
    """

    def __init__(self, status: int, reason: str, headers: HeaderList, body: bytes = b"") -> None:
        super().__init__(status=status, reason=reason, headers=headers)
        self._whole_body = body
        self._no_body = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Frame the response for this request and pass its head to the writer, which sends it with the first chunk."""
        if self.prepared:
            return self._payload_writer
        out = self._payload_writer = request.writer
        headers = self.headers
        self._no_body = request.method == hdrs.METH_HEAD or self.status in _NO_BODY
        if self.status == 204:
            headers.popall(hdrs.CONTENT_LENGTH, None)
        if not self._no_body and hdrs.CONTENT_LENGTH not in headers:
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
        minor = (
            1 if request.version >= HttpVersion11 else 0
        )  # even for a version such as 2.0, which gets an error response
        await out.write_headers(f"HTTP/1.{minor} {self.status} {self.reason}", headers)
        return out

    async def write_eof(self, data: bytes = b"") -> None:
        """End the response. aiohttp calls this once more, which does nothing."""
        await super().write_eof(b"" if self._no_body else data or self._whole_body)

    async def start(self, request: web.BaseRequest, content: StreamReader) -> bytes:
        """Send the head at once, in one packet with the part of the body that has already arrived, and return that part."""
        out = await self.prepare(request)
        if out is None or self._no_body:
            return b""
        chunk = content.read_nowait()
        if content.at_eof():
            await self.write_eof(chunk)
        elif chunk:
            await out.write(chunk)
        else:
            out.send_headers()
        return chunk

    async def switch(self, request: web.BaseRequest) -> None:
        """Send the head of a response behind which the connection is a WebSocket: this is the last response on it."""
        self.force_close()
        self._eof_sent = True
        out = self._payload_writer = request.writer
        self.headers[hdrs.CONNECTION], self.headers[hdrs.UPGRADE] = "Upgrade", "websocket"
        await out.write_headers(f"HTTP/1.1 {self.status} {self.reason}", self.headers)
        out.send_headers()

    def abort(self, request: web.BaseRequest) -> None:
        """Break the viewer's connection, so that half a response cannot be mistaken for a whole one."""
        self.force_close()
        self._eof_sent = True
        transport = request.transport
        if transport is None:
            return
        if request.version < HttpVersion11:
            # Here the end of the connection ends the body, so it must be a reset.
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()


def error_response(name: str, request_id: str) -> ViewerResponse:
    """Return the response for `ERRORS[name]`: a body that every SDK shows, with the request ID of the log line."""
    refusal = ERRORS[name]()
    status = refusal.status
    headers = edge_refusal.headers(refusal, request_id)
    headers.pop("www-authenticate", None)  # another token would not help
    if (
        status >= 500 and name != "timeout"
    ):  # after that one, the provider is still at work, and bills for each repetition
        headers.pop("x-should-retry")  # the provider may succeed the next time: the SDK decides
    return _refusal(refusal, headers, request_id)


def ended_response(refusal: Refusal, request_id: str, url: str) -> ViewerResponse:
    """Return the response to a call that was ended after it was sent on. url: the edge's own, "" if it is not known."""
    headers = edge_refusal.headers(refusal, request_id, url)
    headers.pop("retry-after", None)
    headers["x-should-retry"] = "false"  # the provider may be at work, and bills for each repetition
    return _refusal(refusal, headers, request_id)


def _refusal(refusal: Refusal, headers: Mapping[str, str], request_id: str) -> ViewerResponse:
    body = edge_refusal.body(refusal, request_id).encode()
    sent = [(_SPELLED.get(name, name), value) for name, value in headers.items()]
    sent.append(("Content-Length", str(len(body))))
    return ViewerResponse(refusal.status, HTTPStatus(refusal.status).phrase, sent, body)


def unread(request: web.BaseRequest, response: ViewerResponse) -> ViewerResponse:
    """Return a response to a request whose body was not read: a viewer that waits for 100 Continue may never send it."""
    if hdrs.EXPECT in request.headers:
        response.force_close()
    close_after_chunked_request(request, response)
    return response


def close_after_chunked_request(request: web.BaseRequest, response: ViewerResponse) -> None:
    """Make this the connection's last response if the request was chunked."""
    # SECURITY: aiohttp 3.14 reads the last trailer of one request as the first header of the next on the connection,
    # which behind a proxy may be another caller's (test_trailers_do_not_leak_into_the_next_call).
    if hdrs.TRANSFER_ENCODING in request.headers:
        response.force_close()
