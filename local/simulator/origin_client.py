"""Calls to origins: one session that adds nothing, follows nothing and repeats nothing, and the body that it sends."""

import asyncio
from functools import lru_cache
from typing import Final

from aiohttp import (
    AsyncIterablePayload,
    ClientConnectionError,
    ClientHandlerType,
    ClientOSError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
    hdrs,
    web,
)

from local.simulator.function_result import HeaderList
from local.simulator.include_body import HELD, invite
from local.simulator.origin_event import HOP_BY_HOP, MAX_HEAD, READ_TIMEOUT, connection_options, text

CHUNK: Final = 65_536  # bytes of a body in one piece; asyncio brings up to four at once, and two wait to be written
MAX_HEADERS: Final = 256
CONNECT_TIMEOUT: Final = 5.0  # seconds
STALL_TIMEOUT: Final = READ_TIMEOUT + 30.0  # seconds in which not a byte of a body moves, in either direction
_KEEPALIVE: Final = 5.0  # seconds; keepaliveTimeout of the event's origin


class BrokenConnectionError(ClientConnectionError):
    """The origin's connection broke before an answer came."""


async def _no_second_try(request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from sending a request again.

    aiohttp 3.14 repeats GET, HEAD, OPTIONS, TRACE, PUT and DELETE once after ClientOSError or ServerDisconnectedError
    (a kept-alive connection that had gone stale, or an origin that broke off), which no public option turns off. A call
    costs money and was counted once, so the caller decides: under another name the error is passed on and not retried.
    """
    try:
        return await send(request)
    except (ClientOSError, ServerDisconnectedError) as error:
        raise BrokenConnectionError from error


class Upload:
    """The viewer's body, read only as fast as the origin takes it; an asynchronous iterator of chunks."""

    __slots__ = ("_held", "_request", "_uninvited", "_watch")

    def __init__(self, request: web.BaseRequest, watch: asyncio.Timeout) -> None:
        self._request = request
        self._watch = watch
        self._uninvited = HELD not in request
        self._held = request.get(HELD, bytearray())

    def __aiter__(self) -> "Upload":
        return self

    async def __anext__(self) -> bytes:
        move_on(self._watch)
        if self._held:  # it was shown to the function
            chunk = bytes(self._held[:CHUNK])
            del self._held[:CHUNK]
            return chunk
        if self._uninvited:
            self._uninvited = False
            await invite(self._request)
        chunk = await self._request.content.read(CHUNK)
        if not chunk:
            raise StopAsyncIteration
        return chunk


def move_on(watch: asyncio.Timeout) -> None:
    """A piece of a body has moved: the exchange may stand still for the stall time from here, or a hundredth less.

    To set a timer is dear beside the little that is done for one event of a stream, so it is not done for each.
    """
    now, when = asyncio.get_running_loop().time(), watch.when()
    if when is None or when < now + 0.99 * STALL_TIMEOUT:
        watch.reschedule(now + STALL_TIMEOUT)


def outgoing(request: web.BaseRequest, watch: asyncio.Timeout) -> AsyncIterablePayload | bytes | None:
    """What to send as the body of a call: one that is small and there already as it is, any other as it comes."""
    if not request.body_exists:
        return None
    held = request.get(HELD)
    is_whole = held is not None and len(held) <= CHUNK and request.content.at_eof()
    if held is not None and is_whole and hdrs.CONTENT_LENGTH in request.headers:  # else it has to go on in chunks
        move_on(watch)
        return bytes(held)
    return AsyncIterablePayload(Upload(request, watch))


def of_one_spelling(headers: HeaderList) -> HeaderList:
    """Return the headers with each name spelled as it was first.

    aiohttp 3.14 takes a name in another case for a new one, and drops what was sent under it before.
    """
    first: dict[str, str] = {}
    return [(first.setdefault(name.lower(), name), value) for name, value in headers]


def make_session() -> ClientSession:
    """The session for all origins, to be made in the running loop. What it raises is a ClientError or a TimeoutError."""
    return ClientSession(
        connector=TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=timeouts(READ_TIMEOUT),
        skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE),
        read_bufsize=CHUNK,
        max_line_size=MAX_HEAD,
        max_field_size=MAX_HEAD,
        max_headers=MAX_HEADERS,
        middlewares=(_no_second_try,),
    )


@lru_cache(maxsize=16)
def timeouts(read: float) -> ClientTimeout:
    """The time-outs of one call, where the origin may be silent for `read` seconds. A stream has no total."""
    return ClientTimeout(total=None, connect=CONNECT_TIMEOUT, sock_connect=CONNECT_TIMEOUT, sock_read=read)


def passed_headers(upstream: ClientResponse) -> HeaderList:
    """The origin's headers without those of its hop, repetitions and order kept.

    A `Content-Length` among them is true: aiohttp's parser refuses one beside `Transfer-Encoding`, or a second one.
    """
    received = upstream.headers
    dropped = HOP_BY_HOP
    if hdrs.CONNECTION in received:
        dropped |= connection_options(received.getall(hdrs.CONNECTION))
    pairs = ((raw_name.decode("latin-1"), raw_value) for raw_name, raw_value in upstream.raw_headers)
    return [(name, text(raw_value)) for name, raw_value in pairs if name.lower() not in dropped]
