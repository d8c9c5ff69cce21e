"""CloudFront's Include Body option: the origin-request event holds the first MiB of the request's body.

The function is invoked once that much has arrived: at once for a small body, and the first MiB of a large one goes to the
origin while the rest arrives, so that an upload hardly takes longer. At most that MiB and one chunk more are buffered.
"""

import asyncio
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from chalicelib.edge.headers import Headers
from chalicelib.models.body import CallBody

INCLUDED_BYTES: Final = 1_048_576  # CloudFront's "1 MB" for an origin-request function
IDLE_TIMEOUT: Final = 30.0  # seconds between two chunks
TOTAL_TIMEOUT: Final = 120.0  # seconds for everything that is included
BUFFERED: Final = web.RequestKey("buffered", bytearray)
"""The part of a request's body that was read and not sent on yet."""
WITH_BODIES: Final = frozenset({hdrs.METH_POST, hdrs.METH_PUT, hdrs.METH_PATCH, hdrs.METH_DELETE})

_OF_BODIES: Final = ("content-type", "content-encoding")


class NotInvokedError(Exception):
    """The function is not invoked, as the body broke off or was slow, or too many calls are under way. `name`: the name of the error in `cloudfront_errors.ERRORS`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


async def receive(request: web.BaseRequest) -> None:
    """Receive what the event includes of a body, for methods with one. Raises NotInvokedError.

    What was received is in `request[BUFFERED]`, to be sent to the origin first.
    """
    if request.method not in WITH_BODIES or BUFFERED in request:
        return
    try:
        if not request.body_exists or request.content.is_eof():
            # All of it came with the head, as small bodies do.
            request[BUFFERED] = bytearray(request.content.read_nowait())
        else:
            buffered = request[BUFFERED] = bytearray()
            await _read(request, buffered)
    except TimeoutError:
        raise NotInvokedError("slow") from None
    except (web.RequestPayloadError, HttpProcessingError, ConnectionError):
        raise NotInvokedError("malformed") from None


def included_body(request: web.BaseRequest, headers: Headers) -> CallBody:
    """Return what the function is shown of the body: nothing for methods without one. Call `receive` first."""
    types, encodings = (tuple([one.strip() for one in headers.all(name)]) for name in _OF_BODIES)
    shown = CallBody(content_types=types, content_encodings=encodings, header_names=headers.names)
    if BUFFERED in request:
        buffered = request[BUFFERED]
        shown.truncated = len(buffered) > INCLUDED_BYTES
        shown.received = buffered[:INCLUDED_BYTES] if shown.truncated else buffered
    return shown


async def send_continue(request: web.BaseRequest) -> None:
    """Send 100 Continue to a viewer that waits for it before it sends its body."""
    writer = request.writer
    if hdrs.EXPECT in request.headers and request.version >= (1, 1) and not writer.output_size:
        await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        writer.output_size = 0  # as aiohttp does: this was not the response


async def _read(request: web.BaseRequest, buffered: bytearray) -> None:
    """Read until there is more than the event includes, or the body ends. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + TOTAL_TIMEOUT
    async with asyncio.timeout(IDLE_TIMEOUT) as timeout:
        await send_continue(request)
        while len(buffered) <= INCLUDED_BYTES and (chunk := await request.content.readany()):
            buffered += chunk
            timeout.reschedule(min(loop.time() + IDLE_TIMEOUT, deadline))
