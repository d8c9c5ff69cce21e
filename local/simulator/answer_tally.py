"""What the answers of one worker took, added up in memory and written every second or so, off the way of every call."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import astuple
from operator import add
from typing import Final, NamedTuple, Self

from aiohttp import hdrs

from chalicelib.edge.call import Admitted
from chalicelib.models import endpoints
from chalicelib.providers import answer_usage, paths
from chalicelib.providers.answer_usage import TokenUse
from chalicelib.usage import MODELS_KEPT, OTHER, Answered, AnswerUsage, ModelUse, NotAdded, window_start
from local.simulator.answer_reader import AnswerReader
from local.simulator.origin_exchange import OriginAnswer
from local.simulator.periodic_writing import write_every
from local.simulator.settlements import Settlement
from local.simulator.web_socket_usage import WebSocketUsage
from local.simulator.web_sockets import SWITCHING

PERIOD: Final = 1.0
"""Seconds from one writing to the next, unless told otherwise: what `kill -9` may lose."""
SOON: Final = 0.02
"""Seconds that an answer which has ended waits for others, to be read together with them."""
TOGETHER: Final = 64
"""Answers that are read together, at most."""
AT_ONCE: Final = 2
"""Of those that have waited so long, at most: a call that comes meanwhile waits for no more."""
MOST: Final = 10_000
"""Rows that wait to be written while the state is out of reach; what comes on top is not counted."""
_LOG: Final = logging.getLogger("keybroker")
_NOTHING: Final = TokenUse("", 0, 0, 0)


class Answering(NamedTuple):
    """What is kept of a call until its answer is counted: all that it was admitted with is some kilobytes."""

    principal: str
    grant: str
    key: str
    """The key's name."""
    provider: str
    path: str

    @classmethod
    def of(cls, admitted: Admitted) -> Self:
        """Return that of a call."""
        return cls(admitted.principal, admitted.grant, admitted.key_name, admitted.provider, admitted.path)


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
        self._ended: list[_Reading] = []
        self._soon: asyncio.Handle | None = None

    def reading(
        self, settlement: Settlement, method: str, upstream: OriginAnswer
    ) -> AbstractContextManager[Callable[[bytes], None]]:
        """Return a block that gets what an answer is to be shown to as it passes; once it ends, the answer is counted.

        settlement: of its call; if it is due, it is told what the answer took, whatever its status and type. Of a WebSocket,
        which has none that is, each response is an answer, and is counted at once.
        """
        admitted = settlement.admitted
        content_type = upstream.headers.get(hdrs.CONTENT_TYPE, "")
        if settlement.is_due and admitted is not None:
            reader = AnswerReader(content_type, upstream.headers.get(hdrs.CONTENT_ENCODING, ""))
            return _Reading(self, Answering.of(admitted), reader, settlement)
        if admitted is None or not self._is_kept or not answer_usage.is_read(admitted.provider, admitted.path):
            return _PASSED_OVER
        if upstream.status == SWITCHING:
            extensions = ", ".join(upstream.headers.getall("Sec-WebSocket-Extensions", []))
            answering = Answering.of(admitted)
            return WebSocketUsage(admitted, extensions, lambda use: self.note(answering, use, is_whole=True))
        if method != hdrs.METH_POST or not 200 <= upstream.status < 300:
            return _PASSED_OVER
        if not ("json" in content_type or "event-stream" in content_type):
            return _PASSED_OVER  # sound, pictures
        reader = AnswerReader(content_type, upstream.headers.get(hdrs.CONTENT_ENCODING, ""))
        return _Reading(self, Answering.of(admitted), reader)

    def ended(self, reading: _Reading) -> None:
        """Read an answer that has ended, soon and with others: what is done many times in a row takes a fraction of the time."""
        self._ended.append(reading)
        if len(self._ended) == 1:
            self._soon = asyncio.get_running_loop().call_later(SOON, self._read_some)
        elif len(self._ended) >= TOGETHER:
            self._read_ended()

    def _read_some(self) -> None:
        some, self._ended = self._ended[:AT_ONCE], self._ended[AT_ONCE:]
        self._soon = asyncio.get_running_loop().call_soon(self._read_some) if self._ended else None
        self._read(some)

    def _read_ended(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        ended, self._ended = self._ended, []
        self._read(ended)

    def _read(self, ended: list[_Reading]) -> None:
        """Read answers. What one of them does ends none of the others."""
        for one in ended:
            try:
                one.read()
            except Exception as fault:  # noqa: BLE001  one answer's fault is none of the others', nor of the call that ends now
                _LOG.warning("what an answer took is not counted: %s", type(fault).__name__)

    def note(self, of: Answering, use: TokenUse | None, *, is_whole: bool) -> None:
        """Count an answer. use: what it said, if anything. is_whole: whether all of it went on."""
        if not self._is_kept:
            return
        if self._also is not None:
            self._also(of.key, use)
        minute = window_start("minute", int(self._clock()))
        model, tokens_in, out, cached, _ = use or _NOTHING
        row = of.principal, of.grant, of.key, minute, model
        self._add(row, (1, int(use is None or not is_whole), tokens_in, out, cached))

    def _add(self, row: _Row, numbers: Iterable[int]) -> None:
        held = self._rows.get(row)
        if held is None:
            # SECURITY: a provider that makes up names takes no room of others (test_made_up_models_take_no_room).
            if self._models[row[:4]] >= MODELS_KEPT and row[4] != OTHER:
                self._add((*row[:4], OTHER), numbers)
                return
            if len(self._rows) >= MOST:
                return
            self._models[row[:4]] += 1
            held = self._rows[row] = [0] * 5
        held[:] = map(add, held, numbers)

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
        self._read_ended()
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
            self._add((*one[:4], one.use.model), astuple(one.use)[1:])
        if missed.uncertain:  # they may be written, and would then be written twice
            _LOG.warning("what answers took may not be counted: %d of it, %s", missed.uncertain, missed.cause)
        elif missed.left:
            _LOG.warning("what answers took cannot be written yet: %d of it, %s", len(missed.left), missed.cause)


class _Reading:
    """One answer, while it passes."""

    __slots__ = ("_is_whole", "_of", "_reader", "_settlement", "_tally")

    def __init__(
        self, tally: AnswerTally, of: Answering, reader: AnswerReader, settlement: Settlement | None = None
    ) -> None:
        self._tally, self._of, self._reader, self._settlement = tally, of, reader, settlement
        self._is_whole = False

    def __enter__(self) -> Callable[[bytes], None]:
        return self._reader.feed if self._settlement is None else self._feed

    def _feed(self, piece: bytes) -> None:
        if self._settlement is not None:
            self._settlement.passed += len(piece)
        self._reader.feed(piece)

    def __exit__(self, raised: type[BaseException] | None, *_where: object) -> None:
        self._is_whole = raised is None
        if self._settlement is None:
            self._tally.ended(self)
        else:
            self.read()  # it is settled at once, and the next call finds what is left

    def read(self) -> None:
        """Read what the answer took, and count it."""
        is_whole = self._is_whole
        use = answer_usage.read(self._of.provider, self._reader.documents(is_whole=is_whole))
        if self._settlement is not None:
            self._settlement.read(use, is_whole=is_whole)
            if not self._settlement.is_success:
                return
        if use is not None or _runs_a_model(self._of):
            self._tally.note(self._of, use, is_whole=is_whole)


def _pass_over(_piece: bytes) -> None:
    pass


_PASSED_OVER: Final = contextlib.nullcontext(_pass_over)


def _runs_a_model(of: Answering) -> bool:
    """Whether an answer that says nothing of usage should have: those of uploads and lists have nothing to say."""
    return endpoints.find(of.provider, paths.scope_value(hdrs.METH_POST, of.path)) is not None
