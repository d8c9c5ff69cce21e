"""The body of a request as an origin gets it: at once if it is small and there, else read as fast as the origin takes it."""

from collections.abc import AsyncGenerator
from typing import Final

from aiohttp import hdrs, web

from local.simulator.deadline import Deadline
from local.simulator.include_body import BUFFERED, send_continue
from local.simulator.whole_bodies import KEPT

CHUNK: Final = 65_536
"""Bytes of a body at a time; asyncio may deliver up to four chunks at once, and two may wait to be written."""


def whole_body(request: web.BaseRequest) -> bytes | None:
    """Return the body of a request if all of it is there and it is small, b"" if it has none; None: it is to be streamed."""
    if not request.body_exists:
        return b""
    buffered = request.get(BUFFERED)
    is_whole = buffered is not None and len(buffered) <= CHUNK and request.content.at_eof()
    if buffered is not None and is_whole and hdrs.CONTENT_LENGTH in request.headers:  # else it has to be sent in chunks
        return bytes(buffered)
    return None


async def chunks(request: web.BaseRequest, deadline: Deadline) -> AsyncGenerator[bytes]:
    """Yield a body in chunks, each once the one before was taken, and note its end."""
    buffered = request.get(BUFFERED)
    deadline.body_moves()
    while buffered:  # it was included in the event
        chunk = bytes(buffered[:CHUNK])
        del buffered[:CHUNK]
        yield chunk
        deadline.body_moves()
    if buffered is None:
        await send_continue(request)
    kept = request.get(KEPT)
    while chunk := await (kept.read() if kept else request.content.read(CHUNK)):
        yield chunk
        deadline.body_moves()
    deadline.is_sent()
