"""One request on a connection to an origin, and its answer, read by aiohttp's parser, which is in C.

aiohttp's own session makes a URL, a request and a response of some sixty members for each call, for redirects, cookies,
proxies, authentication and traces, of which a call has none; that was a tenth to a fifth of what a call took.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import lru_cache
from typing import Final, NamedTuple

from aiohttp import ClientConnectionError, ClientOSError, StreamReader
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage, StreamWriter

from local.simulator import http_head
from local.simulator.function_result import HeaderList, OriginRequest
from local.simulator.http_head import Fields
from local.simulator.origin_request_event import HOP_BY_HOP, connection_options
from local.simulator.sending import MalformedAnswerError

_SWITCHING: Final = 101
_FINAL: Final = 200
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods of which a request without a body needs no `Content-Length` (RFC 9110, section 8.6)."""
REQUEST_ID: Final = "X-Amz-Cf-Id"
_MARK: Final = secrets.token_hex(16)
"""Stands where a value is put in later; no caller knows it."""
_CHUNKED: Final = "Transfer-Encoding: chunked"


class OriginCall(NamedTuple):
    """A request for an origin. Every member is sent as it is."""

    method: str
    address: str
    """Where to, as in `OriginRequest`."""
    target: str
    headers: HeaderList
    body: bytes | Callable[[], AsyncGenerator[bytes]]
    """All of it, b"" for none; or what begins to stream it, in chunks unless a header says its length."""


class OriginAnswer:
    """An origin's answer; its body is in `content`. `close()` it at the end.

    connection: None once the answer was read to its end, and the connection is kept for another call.
    """

    __slots__ = ("_keep", "_writing", "connection", "content", "headers", "raw_headers", "reason", "status")

    def __init__(
        self,
        connection: Connection,
        message: RawResponseMessage,
        content: StreamReader,
        writing: asyncio.Task[None] | None,
        keep: Callable[[], None],
    ) -> None:
        """keep: keeps the connection for another call."""
        self.connection: Connection | None = connection
        self._keep = keep
        self.status, self.reason = message.code, message.reason
        self.headers, self.raw_headers = message.headers, message.raw_headers
        self.content = content
        self._writing = writing
        content.on_eof(self._is_read)

    def close(self) -> None:
        """End the call at the origin, unless it is over."""
        if self._writing is not None:
            self._writing.cancel()
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def _is_read(self) -> None:
        if self.connection is None or self.status < _FINAL:  # after a 101 it speaks something else
            return
        # SECURITY: what is left of a request's body would be the next call's head
        # (test_an_answer_before_the_end_of_the_body_ends_the_connection).
        if self._writing is not None and not self._writing.done():
            self.close()
            return
        self._keep()
        self.connection = None

    def end_to_end_headers(self) -> Fields:
        """Return its headers without hop-by-hop ones, repeats and order kept.

        A `Content-Length` is correct: aiohttp's parser rejects one beside `Transfer-Encoding`, or a second one.
        """
        options: frozenset[str] = frozenset()
        if "Connection" in self.headers:
            options = connection_options(self.headers.getall("Connection"))
        raw = self.raw_headers
        begins, names = _passed(tuple([name for name, _ in raw]), options)
        # Of an answer every byte goes on as it is; no event is made of it.
        return Fields([begin + raw[place][1].decode("utf-8", "surrogateescape") for place, begin in begins], names)


@lru_cache(maxsize=256)
def _passed(
    raw_names: tuple[bytes, ...], options: frozenset[str]
) -> tuple[tuple[tuple[int, str], ...], frozenset[str]]:
    """Return what is passed on: the place of each header and what its line begins with, and the names of all.

    An origin sends the same names with every answer.
    """
    dropped = HOP_BY_HOP | options
    names = [name.decode("latin-1") for name in raw_names]
    passed = [(place, name) for place, name in enumerate(names) if name.lower() not in dropped]
    return tuple([(place, f"{name}: ") for place, name in passed]), frozenset(name.lower() for _, name in passed)


def head(call: OriginCall) -> bytes:
    """Return the head of a request: its headers as they are, `Host` first, and what frames a body.

    Raises ValueError for what would break a line.
    """
    names = [name.lower() for name, _ in call.headers]
    lines = [f"{name}: {value}" for name, value in call.headers]
    if names.count("host") != 1:
        raise ValueError("a request needs one Host")
    host = lines.pop(names.index("host"))
    if "content-length" not in names:
        if not isinstance(call.body, bytes):
            lines.append(_CHUNKED)
        elif call.body or call.method not in _WITHOUT_BODY:
            lines.append(f"Content-Length: {len(call.body)}")
    return http_head.head([f"{call.method} {call.target} HTTP/1.1", host, *lines])


def head_of(method: str, origin_request: OriginRequest, request_id: str) -> bytes:
    """Return the head of a request without a body, or with one whose length a header says; raises as `head`."""
    headers = [*origin_request.headers, (REQUEST_ID, request_id)]
    return head(OriginCall(method, origin_request.address, origin_request.target, headers, b""))


class HeadForm(NamedTuple):
    """The head of requests that differ by their id and by the length of their body alone."""

    before: bytes
    """What comes before the length; if there is none, before the id."""
    between: bytes | None
    """What is between the length and the id; None if there is no length."""
    after: bytes

    @classmethod
    def of(cls, method: str, origin_request: OriginRequest) -> HeadForm:
        """Return the form of the heads that `head_of` makes; raises as that."""
        before, *between, after = head_of(method, origin_request.with_length(_MARK), _MARK).split(_MARK.encode())
        if len(between) > 1:
            raise ValueError("a request has one length")
        return cls(before, between[0] if between else None, after)

    def head(self, length: str, request_id: str) -> bytes:
        """Return a head. length: as it was sent, in digits. Raises ValueError for a body of which no header would say it."""
        if self.between is None and length.strip("0"):
            raise ValueError("a body without a length")
        middle = b"" if self.between is None else length.encode() + self.between
        return self.before + middle + request_id.encode() + self.after


def is_answer(message: RawResponseMessage) -> bool:
    """Whether a head is that of the answer, and not of a 1xx before it; 101 is one."""
    return message.code >= _FINAL or message.code == _SWITCHING


def check_coding(message: RawResponseMessage) -> None:
    """Raise MalformedAnswerError for an answer whose body is coded for the way, but for chunks (RFC 9112, section 6.1).

    It was not asked for (`TE`), and what goes on would no longer say that it is.
    """
    if "Transfer-Encoding" in message.headers:
        codings = ",".join(message.headers.getall("Transfer-Encoding"))
        if codings.strip().lower() != "chunked":
            raise MalformedAnswerError


async def answered(protocol: ResponseHandler) -> tuple[RawResponseMessage, StreamReader]:
    """Return the head of the answer, past any 1xx but 101, and its body as it comes; raises as `check_coding`."""
    while True:
        message, content = await protocol.read()
        if is_answer(message):
            check_coding(message)
            return message, content


def transport(protocol: ResponseHandler) -> asyncio.WriteTransport:
    """Return what writes to a connection; raises ClientOSError if the peer is gone."""
    found = protocol.transport
    if found is None or found.is_closing():
        raise ClientOSError("the connection is closed")
    return found


def send(
    connection: Connection, head: bytes, body: bytes | Callable[[], AsyncGenerator[bytes]]
) -> asyncio.Task[None] | None:
    """Send a request; returns what goes on to send its body, None if all is sent. Raises ClientOSError if the peer is gone."""
    protocol = connection.protocol
    if protocol is None:
        raise ClientOSError("the connection is closed")
    writing = transport(protocol)
    if isinstance(body, bytes):
        writing.write(head + body)
        return None
    writing.write(head)
    is_chunked = head.endswith(f"\r\n{_CHUNKED}\r\n\r\n".encode())
    return asyncio.create_task(_send_body(connection, protocol, body(), is_chunked=is_chunked))


async def _send_body(
    connection: Connection, protocol: ResponseHandler, body: AsyncGenerator[bytes], *, is_chunked: bool
) -> None:
    """Send a body as fast as the origin takes it. What goes wrong is raised to who waits for the answer."""
    writer = StreamWriter(protocol, asyncio.get_running_loop())
    if is_chunked:
        writer.enable_chunking()
    try:
        async with aclosing(body):
            async for chunk in body:
                await writer.write(chunk)
        await writer.write_eof()
    except TimeoutError as error:
        protocol.set_exception(error)
    except OSError as error:
        protocol.set_exception(ClientOSError(error.errno, "the request's body could not be sent"), error)
    except Exception as error:  # noqa: BLE001  a body that broke off, say: the call is over
        protocol.set_exception(ClientConnectionError(f"the request's body broke off: {type(error).__name__}"), error)
    except BaseException:
        connection.close()  # half a request: the connection serves no other call
        raise
