"""Answers to the viewer, written as they are: the origin's streamed on, the function's, and the door's own errors."""

import socket
import struct
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from aiohttp import StreamReader, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion10, HttpVersion11

from chalicelib.edge import refusal as edge_refusal
from local.simulator.door_errors import DOOR_ERRORS
from local.simulator.function_result import HeaderList

_NO_BODY: Final = frozenset({204, 304})
_SPELLED: Final = {"content-type": "Content-Type", "content-length": "Content-Length", "cache-control": "Cache-Control"}
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
        minor = 1 if request.version >= HttpVersion11 else 0  # one of 2.0, say, is refused in our own words
        await out.write_headers(f"HTTP/1.{minor} {self.status} {self.reason}", headers)
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


def door_response(name: str, request_id: str) -> ViewerResponse:
    """The answer for `DOOR_ERRORS[name]`: the body that every SDK shows, with the request id that finds the log line."""
    refusal = DOOR_ERRORS[name]()
    status = refusal.status
    body = edge_refusal.body(refusal, request_id).encode()
    headers = {**edge_refusal.headers(refusal, request_id), "content-length": str(len(body))}
    headers.pop("www-authenticate", None)  # no other token would help
    if status >= 500:
        headers.pop("x-should-retry")  # a provider that failed may answer the next time: an SDK decides for itself
    return ViewerResponse(
        status, HTTPStatus(status).phrase, [(_SPELLED.get(name, name), value) for name, value in headers.items()], body
    )
