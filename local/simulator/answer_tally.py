"""What the answers of one worker took, added up in memory and written every second or so, off the way of every call."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import astuple
from operator import add
from typing import Final

from aiohttp import hdrs

from chalicelib.edge.call import Admitted
from chalicelib.models import endpoints
from chalicelib.providers import answer_usage, paths
from chalicelib.providers.answer_usage import TokenUse
from chalicelib.quota import WINDOWS
from chalicelib.usage import MODELS_KEPT, OTHER, Answered, AnswerUsage, ModelUse, NotAdded, window_start
from local.simulator import usual_answers
from local.simulator.answer_document import WHOLE
from local.simulator.answer_reader import AnswerReader
from local.simulator.origin_exchange import OriginAnswer
from local.simulator.periodic_writing import write_every
from local.simulator.settlements import Settlement
from local.simulator.web_socket_usage import WebSocketUsage
from local.simulator.web_sockets import SWITCHING

PERIOD: Final = 1.0
"""Seconds from one writing to the next, unless told otherwise: what `kill -9` may lose."""
MOST: Final = 10_000
"""Rows that wait to be written while the state is out of reach; what comes on top is not counted."""
_LOG: Final = logging.getLogger("keybroker")
_NOTHING: Final = TokenUse("", 0, 0, 0)


_Row = tuple[str, str, str, int, str]
"""Principal, grant, key, minute and model."""


class AnswerTally:
    """That of one distribution; only for its event loop. `keep()` runs beside it, and nothing is read without it."""

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        period: float | None = None,
        also: Callable[[str, TokenUse | None], None] | None = None,
    ) -> None:
        """period: seconds from one writing to the next.

        also: is told by a key's name what each answer took, None if it does not say it.
        """
        self._also = also
        self._clock, self._period = clock, PERIOD if period is None else period
        self._rows: dict[_Row, list[int]] = {}
        self._models: Counter[tuple[str, str, str, int]] = Counter()
        self._is_kept = False
        self._minute, self._from, self._until = 0, 0.0, 0.0

    def reading(
        self, settlement: Settlement, method: str, upstream: OriginAnswer
    ) -> AbstractContextManager[Callable[[bytes], None]]:
        """Return a block that gets what an answer is to be shown to as it passes; once it ends, the answer is counted.

        settlement: of its call; if it is due, it is told what the answer took, whatever its status and type. Of a WebSocket,
        which has none that is, each response is an answer, and is counted at once.
        """
        admitted = settlement.admitted
        if admitted is None:
            return _PASSED_OVER
        headers, is_due = upstream.headers, settlement.is_due
        content_type = headers.get(hdrs.CONTENT_TYPE, "").lower()
        if not is_due:
            if not self._is_kept or not answer_usage.is_read(admitted.provider, admitted.path):
                return _PASSED_OVER
            if upstream.status == SWITCHING:
                extensions = ", ".join(headers.getall("Sec-WebSocket-Extensions", []))
                return WebSocketUsage(admitted, extensions, lambda use: self.note(admitted, use))
            if method != hdrs.METH_POST or not 200 <= upstream.status < 300:
                return _PASSED_OVER
            if not ("json" in content_type or "event-stream" in content_type):
                return _PASSED_OVER  # sound, pictures
        reader = AnswerReader(content_type, headers.get(hdrs.CONTENT_ENCODING, ""))
        settlement.is_stream = reader.is_stream
        return _Reading(self, admitted, reader, settlement if is_due else None)

    def take(
        self, settlement: Settlement, method: str, upstream: OriginAnswer, piece: bytes, *, is_whole: bool
    ) -> None:
        """Count an answer that came in one piece, as `reading` does. is_whole: whether all of it went on."""
        try:
            is_plain = is_whole and not settlement.is_due
            if not (is_plain and self._is_taken(settlement.admitted, method, upstream, piece)):
                reading = self.reading(settlement, method, upstream)
                reading.__enter__()(piece)
                reading.__exit__(None if is_whole else asyncio.CancelledError, None, None)
        except Exception as fault:  # noqa: BLE001  as in `_Reading`
            _not_counted(fault)

    def _is_taken(self, admitted: Admitted | None, method: str, upstream: OriginAnswer, whole: bytes) -> bool:
        """Count an answer that says what it took in the usual way, as nearly all do; return whether it was one."""
        headers = upstream.headers
        read = usual_answers.reader(headers.get(hdrs.CONTENT_TYPE, ""))
        if (
            read is None
            or admitted is None
            or method != hdrs.METH_POST
            or not 200 <= upstream.status < 300
            or len(whole) > WHOLE
            or hdrs.CONTENT_ENCODING in headers
            or not answer_usage.is_read(admitted.provider, admitted.path)
        ):
            return False
        use = read(admitted.provider, whole)
        if use is None:
            return False
        self.note(admitted, use)
        return True

    def note(self, of: Admitted, use: TokenUse | None, *, is_whole: bool = True) -> None:
        """Count an answer. use: what it said, if anything. is_whole: whether all of it went on."""
        if not self._is_kept:
            return
        if self._also is not None:
            self._also(of.key_name, use)
        now = self._clock()
        if not self._from <= now < self._until:
            self._minute = window_start("minute", int(now))
            self._from, self._until = float(self._minute), float(self._minute + WINDOWS["minute"])
        model, tokens_in, out, cached, _ = use or _NOTHING
        row = of.principal, of.grant, of.key_name, self._minute, model
        held = self._rows.get(row) or self._new(row)
        # Written out, for it is done for each answer.
        held[0] += 1
        if use is None or not is_whole:
            held[1] += 1
        held[2] += tokens_in
        held[3] += out
        if cached:
            held[4] += cached

    def _new(self, row: _Row) -> list[int]:
        """Return the numbers of a row that there was none of; of one for which there is no room, some that nobody sees."""
        # SECURITY: a provider that makes up names takes no room of others (test_made_up_models_take_no_room).
        if self._models[row[:4]] >= MODELS_KEPT and row[4] != OTHER:
            other = (*row[:4], OTHER)
            return self._rows.get(other) or self._new(other)
        numbers = [0] * 5
        if len(self._rows) < MOST:
            self._models[row[:4]] += 1
            self._rows[row] = numbers
        return numbers

    async def keep(self, store: Callable[[], AnswerUsage]) -> None:
        """Write what was noted until this is cancelled, and once more then. store: raises Unavailable while there is none."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="edge-answers")
        self._is_kept = True
        try:
            await write_every(self._period, lambda: self._write(store, thread))
        finally:
            if self._rows:
                _LOG.warning("what answers took is not counted: %d could not be written", len(self._rows))
            thread.shutdown(wait=False, cancel_futures=True)

    async def _write(self, store: Callable[[], AnswerUsage], thread: ThreadPoolExecutor) -> None:
        if not self._rows:
            return
        rows, self._rows = self._rows, {}
        self._models.clear()
        answered = [Answered(*one[:4], ModelUse(one[4], *numbers)) for one, numbers in rows.items()]
        try:
            missed = await asyncio.get_running_loop().run_in_executor(thread, lambda: store().add(answered))
        except Exception as fault:  # noqa: BLE001  calls go on whatever becomes of this; the next writing tries again
            missed = NotAdded(tuple(answered), cause=type(fault).__name__)
        for one in missed.left:
            row = (*one[:4], one.use.model)
            held = self._rows.get(row) or self._new(row)
            held[:] = map(add, held, astuple(one.use)[1:])
        if missed.uncertain:  # they may be written, and would then be written twice
            _LOG.warning("what answers took may not be counted: %d of it, %s", missed.uncertain, missed.cause)
        elif missed.left:
            _LOG.warning("what answers took cannot be written yet: %d of it, %s", len(missed.left), missed.cause)


class _Reading:
    """One answer, while it passes."""

    __slots__ = ("_admitted", "_reader", "_settlement", "_tally")

    def __init__(
        self, tally: AnswerTally, admitted: Admitted, reader: AnswerReader, settlement: Settlement | None
    ) -> None:
        """settlement: what is told of it, if it is due."""
        self._tally, self._admitted, self._reader, self._settlement = tally, admitted, reader, settlement

    def __enter__(self) -> Callable[[bytes], None]:
        return self._reader.feed if self._settlement is None else self._feed

    def _feed(self, piece: bytes) -> None:
        if self._settlement is not None:
            self._settlement.passed += len(piece)
        self._reader.feed(piece)

    def __exit__(self, raised: type[BaseException] | None, *_where: object) -> None:
        try:
            self._count(is_whole=raised is None)
        except Exception as fault:  # noqa: BLE001  the call has ended well all the same
            _not_counted(fault)

    def _count(self, *, is_whole: bool) -> None:
        use = self._reader.use(self._admitted.provider, is_whole=is_whole)
        # SECURITY: a stream that ends after its beginning has not said what it took (test_a_beginning_is_not_all).
        is_whole = is_whole and not self._reader.is_begun
        if self._settlement is not None:
            self._settlement.read(use, is_whole=is_whole)
            if not self._settlement.is_success:
                return
        if use is not None or _runs_a_model(self._admitted):
            self._tally.note(self._admitted, use, is_whole=is_whole)


def _not_counted(fault: Exception) -> None:
    _LOG.warning("what an answer took is not counted: %s", type(fault).__name__)


def _pass_over(_piece: bytes) -> None:
    pass


_PASSED_OVER: Final = contextlib.nullcontext(_pass_over)


def _runs_a_model(admitted: Admitted) -> bool:
    """Whether an answer that says nothing of usage should have: those of uploads and lists have nothing to say."""
    return endpoints.find(admitted.provider, paths.scope_value(hdrs.METH_POST, admitted.path)) is not None
