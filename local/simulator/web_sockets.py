"""WebSockets: the handshake is a call like any other, and behind it both sides speak as they like, byte for byte."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http import WS_KEY, HttpVersion11, StreamWriter

from chalicelib.edge.headers import Headers
from local.simulator.origin_exchange import OriginAnswer
from local.simulator.origin_request_event import connection_options
from local.simulator.viewer_response import ViewerResponse

SWITCHING: Final = 101
"""The status of an answer after which the connection is a WebSocket."""
WAITING: Final = 256 * 1024
"""Bytes for one side that wait until it takes them, above which the other side has to wait."""
UPGRADE: Final = (("Connection", "Upgrade"), ("Upgrade", "websocket"))
"""The headers that ask for it, hop by hop."""
_KEY: Final = re.compile(r" *[A-Za-z0-9+/]{22}== *")
"""16 bytes in base64."""
_PROTOCOLS: Final = "sec-websocket-protocol"
_TOKEN: Final = "openai-insecure-api-key."  # noqa: S105  what stands before a token
"""Where OpenAI's clients in browsers put their key, since those can set no header but the protocols."""


def are_asked(request: web.BaseRequest) -> bool:
    """Whether a request asks for a WebSocket, in whatever form."""
    upgrades = request.headers.getall(hdrs.UPGRADE) if hdrs.UPGRADE in request.headers else []
    return any("websocket" in one.lower() for one in upgrades)


def is_handshake(request: web.BaseRequest) -> bool:
    """Whether a request that asks for one is a handshake as RFC 6455, section 4.1, has it, and nothing else besides."""
    headers = request.headers
    # SECURITY: one reading: what this door takes for a WebSocket, and lets pass unread, its provider does as well
    # (test_what_is_no_handshake_is_refused).
    return (
        request.method == hdrs.METH_GET
        and request.version == HttpVersion11
        and not request.body_exists
        and headers.keys().isdisjoint({hdrs.EXPECT, hdrs.TRANSFER_ENCODING, hdrs.CONTENT_LENGTH})
        and [one.strip().lower() for one in headers.getall(hdrs.UPGRADE)] == ["websocket"]
        and "upgrade" in connection_options(headers.getall(hdrs.CONNECTION, []))
        and headers.getall("Sec-WebSocket-Version", []) == ["13"]
        and _KEY.fullmatch(",".join(headers.getall("Sec-WebSocket-Key", []))) is not None
    )


def with_token(sent: Headers) -> Headers:
    """Return the headers with a token among the protocols where every other call has it."""
    kept, tokens, headers = [], [], sent.to_event()
    for one in headers.pop(_PROTOCOLS, []):
        names = [name.strip() for name in one["value"].split(",")]
        # SECURITY: what may be a token never stays, however it is spelled (test_a_token_among_the_protocols).
        tokens += [name[len(_TOKEN) :] for name in names if name.lower().startswith(_TOKEN)]
        left = [name for name in names if not name.lower().startswith(_TOKEN)]
        if left:
            kept.append({**one, "value": one["value"] if left == names else ", ".join(left)})
    if kept:
        headers[_PROTOCOLS] = kept
    if tokens:
        named = [{"key": "Authorization", "value": f"Bearer {token}"} for token in tokens]
        headers["authorization"] = [*headers.get("authorization", []), *named]
    return Headers.from_event(headers)


def is_accepted(request: web.BaseRequest, upstream: OriginAnswer) -> bool:
    """Whether an origin's answer accepts the viewer's own handshake, as RFC 6455, section 4.1, has a client check it."""
    if upstream.status != SWITCHING or upstream.connection is None or upstream.connection.protocol is None:
        return False
    # SECURITY: an origin that goes on with HTTP would be asked unseen (test_a_101_for_anything_else_opens_nothing).
    key = request.headers["Sec-WebSocket-Key"].strip()
    accepted = base64.b64encode(hashlib.sha1(key.encode() + WS_KEY, usedforsecurity=False).digest()).decode()
    return (
        upstream.connection.protocol.upgraded
        and upstream.headers.get(hdrs.UPGRADE, "").strip().lower() == "websocket"
        and upstream.headers.getall(hdrs.SEC_WEBSOCKET_ACCEPT, []) == [accepted]
    )


async def join(
    request: web.BaseRequest, upstream: OriginAnswer, response: ViewerResponse, feed: Callable[[bytes], None]
) -> None:
    """Answer the viewer as the origin did, and let both speak until one of them hangs up. Raises ConnectionError.

    feed: is shown what the origin says, once it was sent.
    """
    origin, viewer = upstream.connection, request.transport
    if origin is None or origin.transport is None or origin.protocol is None or viewer is None:
        raise ConnectionResetError
    ended = asyncio.Event()
    to_origin = _Pipe(viewer, origin.transport, StreamWriter(origin.protocol, asyncio.get_running_loop()).drain, ended)
    to_viewer = _Pipe(origin.transport, viewer, request.writer.drain, ended, feed)
    response.switch(request)
    origin.protocol.read_timeout = None  # both may be silent
    try:
        origin.protocol.set_parser(to_viewer, upstream.content)
        request.protocol.set_parser(to_origin)  # type: ignore[arg-type]  # aiohttp has no type for what it needs of one
        await ended.wait()
    finally:
        to_origin.close()
        to_viewer.close()


class _Pipe:
    """What one side sends to the other, in the form in which aiohttp's connections hand on what they do not read."""

    def __init__(
        self,
        source: asyncio.Transport,
        sink: asyncio.Transport,
        drain: Callable[[], Awaitable[None]],
        ended: asyncio.Event,
        feed: Callable[[bytes], None] | None = None,
    ) -> None:
        """drain: returns once the sink takes more. ended: is set when the source has hung up. feed: see `join`."""
        self._source, self._sink, self._drain, self._ended, self._feed = source, sink, drain, ended, feed
        self._pause: asyncio.Task[None] | None = None

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Send more, and let the source wait while much of it waits itself."""
        if data:
            self._sink.write(data)
            if self._feed is not None:
                self._feed(data)
        if self._pause is None and self._sink.get_write_buffer_size() > WAITING:
            self._source.pause_reading()
            self._pause = asyncio.create_task(self._resume())
        return False, b""

    def feed_eof(self) -> None:
        """Note that the source has hung up."""
        self._ended.set()

    def close(self) -> None:
        """Wait for nothing any more."""
        if self._pause is not None:
            self._pause.cancel()

    async def _resume(self) -> None:
        try:
            await self._drain()
        except ConnectionError:
            self._ended.set()
        else:
            self._source.resume_reading()
        self._pause = None
