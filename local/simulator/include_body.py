"""CloudFront's Include Body: the function is shown the first MiB of every body before the request goes on.

The request waits for as much: for a small body that is nothing, and a large one's first MiB is sent on to the origin
while the rest arrives, so that an upload ends hardly later. What is held is at most that MiB and one piece more.
"""

import asyncio
import base64
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

EXPOSED: Final = 1_048_576  # bytes; the "1 MB" of an origin-request function
IDLE_TIMEOUT: Final = 30.0  # seconds between two pieces
WHOLE_TIMEOUT: Final = 120.0  # seconds for all of what is exposed
HELD: Final = web.RequestKey("held", bytearray)
"""What has been read of a request's body and not sent on yet."""
_WITH_BODIES: Final = frozenset({hdrs.METH_POST, hdrs.METH_PUT, hdrs.METH_PATCH, hdrs.METH_DELETE})


class BodyNotReceivedError(Exception):
    """The body broke off or was slow. `name`: the door error (`viewer_response.DOOR_ERRORS`) that it meets."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


async def expose(request: web.BaseRequest) -> dict[str, Any]:
    """Return what the event's request has besides: the member `body`, for the methods that have bodies.

    What has been read is under `request[HELD]`, for whoever sends the body on. Raises BodyNotReceivedError.
    """
    if request.method not in _WITH_BODIES:
        return {}
    held = request[HELD] = bytearray()
    try:
        if request.body_exists and request.content.is_eof():
            held += request.content.read_nowait()  # all of it came with the head, as small ones do
        elif request.body_exists:
            await _read(request, held)
    except TimeoutError:
        raise BodyNotReceivedError("slow") from None
    except (web.RequestPayloadError, HttpProcessingError, ConnectionError):
        raise BodyNotReceivedError("malformed") from None
    data = base64.b64encode(memoryview(held)[:EXPOSED]).decode()
    is_cut = len(held) > EXPOSED
    return {"body": {"action": "read-only", "data": data, "encoding": "base64", "inputTruncated": is_cut}}


async def invite(request: web.BaseRequest) -> None:
    """Say 100 Continue to a viewer that waits for it before it sends its body."""
    writer = request.writer
    if hdrs.EXPECT in request.headers and request.version >= (1, 1) and not writer.output_size:
        await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        writer.output_size = 0  # as aiohttp does: this was no answer yet


async def _read(request: web.BaseRequest, held: bytearray) -> None:
    """Read until there is more than is exposed, or no more. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + WHOLE_TIMEOUT
    async with asyncio.timeout(IDLE_TIMEOUT) as watch:
        await invite(request)
        while len(held) <= EXPOSED and (chunk := await request.content.readany()):
            held += chunk
            watch.reschedule(min(loop.time() + IDLE_TIMEOUT, ends))
