"""Responses to the viewer, written exactly as they are: the origin's, the function's, and CloudFront's own errors."""

import socket
import struct
import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion10, HttpVersion11

from chalicelib.edge import refusal as edge_refusal
from chalicelib.errors import Refusal
from local.simulator import http_head
from local.simulator.cloudfront_errors import ERRORS
from local.simulator.function_result import GeneratedResponse
from local.simulator.http_head import Fields

if TYPE_CHECKING:
    from local.simulator.connections import Connection

CUT: Final = "cut"
"""Why an answer ended before its end: its provider or its caller went."""
_NO_BODY: Final = frozenset({204, 304})
_SPELLED: Final = {"content-type": "Content-Type", "content-length": "Content-Length", "cache-control": "Cache-Control"}
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s: close() resets


class ViewerResponse(web.StreamResponse):
    """A response with exactly the given headers; only framing, `Connection` and a missing `Date` are added.

    aiohttp's own class would add `Server` and `Content-Type` to the origin's headers. `write_eof()` sends `body`.
    """

    _request: web.BaseRequest | None = None
    _is_chunked = _no_body = _has_begun = False
    why = ""
    """The reason of a refusal of ours, or of an answer that was cut; of the edge function's own answers its door tells."""
    is_generated = False
    """Whether the edge function made it: a refusal, or a page of its own."""
    first_sent_at = 0.0
    """When its first byte was sent, by `time.perf_counter`; 0.0: it was not yet."""

    def __init__(self, status: int, reason: str, fields: Fields, body: bytes = b"") -> None:
        super().__init__(status=status, reason=reason)
        self.fields, self._whole_body = fields, body  # in the place of aiohttp's `headers`, which stay empty

    @property
    def has_begun(self) -> bool:
        """Whether any of it was sent."""
        return self._has_begun

    @property
    def size(self) -> int:
        """Bytes that were sent, the head among them; before any was, those of the whole body."""
        if self._has_begun and self._payload_writer is not None:
            return self._payload_writer.output_size
        return len(self._whole_body)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Note the request that this answers; nothing is sent yet."""
        self._request, self._payload_writer = request, request.writer
        return self._payload_writer

    async def write_eof(self, data: bytes = b"") -> None:
        """End the response. aiohttp calls this once more, which does nothing."""
        if self._request is not None and not self._eof_sent:
            self.send(self._request, data or self._whole_body, is_last=True)
            await self._request.writer.drain()

    def finish(self, request: web.BaseRequest) -> None:
        """Send all of it, unless it was sent or broken off; raises as `send`."""
        if not self._eof_sent:
            self.send(request, self._whole_body, is_last=True)

    def send(self, request: web.BaseRequest, data: bytes, *, is_last: bool) -> None:
        """Send the next part of the body: the first in one packet with the head, the last in one with the body's end.

        Whether the viewer takes it is not waited for. Raises ConnectionError if it is gone, ValueError for a head with a
        line break in it.
        """
        head = b""
        if not self._has_begun:
            head, self.first_sent_at = self._head(request), time.perf_counter()
            self._has_begun = True
            self._payload_writer = request.writer
        if self._no_body:
            data = b""
        elif self._is_chunked:
            if data:
                data = b"%x\r\n%b\r\n" % (len(data), data)
            if is_last:
                data += b"0\r\n\r\n"
        _write(request, head + data if head else data)
        self._eof_sent = is_last

    def _head(self, request: web.BaseRequest) -> bytes:
        is_11 = request.version >= HttpVersion11  # even for a version such as 2.0, which gets an error response
        self._no_body = request.method == hdrs.METH_HEAD or self.status in _NO_BODY
        fields, names = self.fields
        if self.status == 204:
            fields = [one for one in fields if not one.lower().startswith("content-length:")]
        lines = [f"HTTP/1.{int(is_11)} {self.status} {self.reason}", *fields]
        if not self._no_body and "content-length" not in names:
            if is_11:
                self._is_chunked = True
                lines.append("Transfer-Encoding: chunked")
            else:
                self.force_close()
        is_ending = cast("Connection", request.protocol).is_ending
        self._keep_alive = request.keep_alive and self.keep_alive is not False and not is_ending
        if not self._keep_alive:
            lines.append("Connection: close")
        elif request.version == HttpVersion10:
            lines.append("Connection: keep-alive")
        if "date" not in names:
            lines.append(f"Date: {_date(int(time.time()))}")
        return http_head.head(lines, "surrogateescape")

    def switch(self, request: web.BaseRequest) -> None:
        """Send the head of a response behind which the connection is a WebSocket: this is the last response on it."""
        self.force_close()
        self._has_begun = self._eof_sent = True
        self._payload_writer, self.first_sent_at = request.writer, time.perf_counter()
        line = f"HTTP/1.1 {self.status} {self.reason}"
        lines = [line, *self.fields.lines, "Connection: Upgrade", "Upgrade: websocket"]
        _write(request, http_head.head(lines, "surrogateescape"))

    def abort(self, request: web.BaseRequest) -> None:
        """Break the viewer's connection, so that half a response cannot be mistaken for a whole one."""
        self.force_close()
        self._eof_sent = True
        self.why = self.why or CUT
        transport = request.transport
        if transport is None:
            return
        if request.version < HttpVersion11:
            # Here the end of the connection ends the body, so it must be a reset.
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def _write(request: web.BaseRequest, data: bytes) -> None:
    cast("Connection", request.protocol).write(data)
    request.writer.output_size += len(data)


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


def generated_response(generated: GeneratedResponse) -> ViewerResponse:
    """Return the response that the edge function generated."""
    response = ViewerResponse(generated.status, generated.reason, Fields.of(generated.headers), generated.body)
    response.is_generated = True
    return response


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
    response = ViewerResponse(refusal.status, HTTPStatus(refusal.status).phrase, Fields.of(sent), body)
    response.why = refusal.reason
    return response


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
