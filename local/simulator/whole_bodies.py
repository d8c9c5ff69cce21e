"""Bodies that are received whole before their call is decided, however long: what says which model runs may come last.

The first MiB stays in memory, as with every body, and the rest goes to a file without a name, which is gone with the process.
The edge function is shown an outline, made while the body arrives (chalicelib/models/outline.py).
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from chalicelib.models import outline
from chalicelib.models.body import CallBody
from chalicelib.models.outline import Outline
from local.simulator.include_body import BUFFERED, IDLE_TIMEOUT, NotInvokedError

MOST: Final = 1024**3
"""Bytes of all bodies of a worker that are kept in files, and so of one."""
SHARE: Final = MOST // 4
"""Bytes of one caller's, unless it is a single body."""
BATCH: Final = 1024**2
"""Bytes that are written or read at once, in a thread."""
_LOG: Final = logging.getLogger(__name__)
_T = TypeVar("_T")


class KeptBody:
    """What comes after the first MiB of one body. `close()` it when its call is done."""

    def __init__(self, bodies: WholeBodies, caller: str) -> None:
        """Raises OSError if there is no place for files."""
        self._bodies, self._caller = bodies, caller
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  closed with the call
        self._in_use = threading.Lock()
        self._size = 0
        self._batch = bytearray()
        self._is_read = self._is_over = False

    async def write(self, chunk: bytes) -> None:
        """Keep more; raises NotInvokedError if there is no room, and OSError."""
        self._bodies.take(self._caller, self._size, len(chunk))
        self._size += len(chunk)
        self._batch += chunk
        if len(self._batch) >= BATCH:
            await self._flush()

    async def read(self) -> bytes:
        """Return what comes next, b"" at the end. Call it once everything was written."""
        if not self._is_read:
            await self._flush()
            self._file.seek(0)
            self._is_read = True
        return await asyncio.to_thread(self._use, lambda: self._file.read(BATCH)) or b""

    def close(self) -> None:
        """Give the room back."""
        self._is_over = True
        self._close_file()
        self._bodies.give_back(self._caller, self._size)

    async def _flush(self) -> None:
        batch, self._batch = self._batch, bytearray()
        await asyncio.to_thread(self._use, lambda: self._write(memoryview(batch)))

    def _use(self, act: Callable[[], _T]) -> _T:
        """Read or write, in a thread; a call that is broken off meanwhile has its file closed afterwards."""
        try:
            with self._in_use:
                return act()
        finally:
            if self._is_over:
                self._close_file()

    def _close_file(self) -> None:
        # SECURITY: not while a thread uses it, or its descriptor could be another caller's connection by then
        # (test_a_file_in_use_is_not_closed).
        if self._in_use.acquire(blocking=False):
            try:
                self._file.close()
            finally:
                self._in_use.release()

    def _write(self, batch: memoryview) -> None:
        while batch:
            batch = batch[self._file.write(batch) :]


KEPT: Final = web.RequestKey("kept", KeptBody)
"""The part of a request's body that is in a file; the call that it belongs to closes it."""


class WholeBodies:
    """Those of one distribution; only for its event loop."""

    def __init__(self, most: int = MOST, share: int = SHARE) -> None:
        self._most, self._share = most, share
        self._sizes: Counter[str] = Counter()

    async def receive(self, request: web.BaseRequest, caller: str, shown: CallBody) -> CallBody | None:
        """Receive the rest of a body and return its outline as what the function is shown of it.

        caller: whose it is. shown: what the function would be shown without. None: it has no outline, and is not kept.
        Raises NotInvokedError.
        """
        made = outline.of(list(shown.content_types), list(shown.content_encodings))
        if made is None:
            return None
        try:
            kept = request[KEPT] = KeptBody(self, caller)
            await _receive(request, kept, made)
        except TimeoutError:
            raise NotInvokedError("slow") from None
        except (web.RequestPayloadError, HttpProcessingError, ConnectionError):
            raise NotInvokedError("malformed") from None
        except OSError as error:
            _LOG.warning("a body cannot be kept in a file: %s", error.strerror or type(error).__name__)
            raise NotInvokedError("no_room") from None
        return replace(shown, received=made.end(), truncated=False, is_outline=True, fault=made.fault)

    def take(self, caller: str, own: int, more: int) -> None:
        """Take room for more of a body that has `own` bytes by now; raises NotInvokedError."""
        if own + more > self._most:
            raise NotInvokedError("too_long")
        # SECURITY: room is taken by callers alone whose token is good, and nobody takes all of it with many bodies
        # (test_one_caller_does_not_take_all_room).
        beside = self._sizes[caller] - own
        if self._sizes.total() + more > self._most or (beside and beside + own + more > self._share):
            raise NotInvokedError("no_room")
        self._sizes[caller] += more

    def give_back(self, caller: str, size: int) -> None:
        """Give room back."""
        self._sizes[caller] -= size
        if self._sizes[caller] <= 0:
            del self._sizes[caller]


async def _receive(request: web.BaseRequest, kept: KeptBody, made: Outline) -> None:
    """Read the body to its end; raises TimeoutError where nothing comes for long."""
    made.feed(bytes(request[BUFFERED]))
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(IDLE_TIMEOUT) as timeout:
        while chunk := await request.content.readany():
            made.feed(chunk)
            await kept.write(chunk)
            timeout.reschedule(loop.time() + IDLE_TIMEOUT)
