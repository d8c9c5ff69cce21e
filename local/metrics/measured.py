"""The calls of one worker as numbers: added up in memory at the end of each, and written every half second.

SECURITY: never a principal, a token, an address, a path or a model (test_nothing_of_a_caller_is_in_the_numbers).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from bisect import bisect_left
from collections.abc import Callable, Sized
from typing import Final, Protocol

from chalicelib.edge.call import Admitted
from chalicelib.errors import Refusal
from chalicelib.providers.answer_usage import TokenUse
from local.metrics import names
from local.metrics.names import BUCKETS
from local.metrics.shared import Shared, bounded

PERIOD: Final = 0.5
"""Seconds from one writing to the next: what `kill -9` may lose."""
LEFT: Final = "client_left"
"""The `error.type` of a call whose caller did not wait for its answer."""
_MOST_NOTED: Final = 10_000
"""Calls of which it is remembered what was decided; those whose callers left before may stay for a while."""
_CLASSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
_LOG: Final = logging.getLogger("keybroker")


class Answer(Protocol):
    """What is to be known of an answer. status: HTTP's. why: the reason if it is ours, or was cut."""

    @property
    def status(self) -> int: ...  # noqa: D102  see the class
    @property
    def why(self) -> str: ...  # noqa: D102  see the class
    @property
    def first_sent_at(self) -> float:
        """When its first byte was sent, by `time.perf_counter`; 0.0: it was not yet."""

    @property
    def size(self) -> int:
        """Bytes that were sent, or will be."""


class Door(Sized, Protocol):
    """The connections of a door, which has a name."""

    @property
    def door(self) -> str: ...  # noqa: D102  see the class


class _OfKey:
    """What calls of one key took, since the last writing."""

    __slots__ = ("first", "first_sum", "received", "seconds", "seconds_sum", "sent", "tokens")

    def __init__(self) -> None:
        self.seconds, self.first = ([0] * (len(BUCKETS) + 1) for _ in range(2))
        self.seconds_sum = self.first_sum = 0.0
        self.received = self.sent = 0
        self.tokens = [0, 0, 0, 0]


class Measured:
    """Those of one distribution; only for its event loop, but for `admitted` and `refused`. `keep()` runs beside it."""

    def __init__(self, shared: Shared, clock: Callable[[], float] = time.perf_counter) -> None:
        """clock: seconds."""
        self._shared, self._clock = shared, clock
        self._noted: dict[str, tuple[str, str]] = {}
        self._calls: dict[tuple[str, str, str], int] = {}
        self._keys: dict[str, _OfKey] = {}
        self._known: set[str] = set()
        self._under_way = 0
        self.doors: list[Door] = []
        """Whose connections are counted."""

    def admitted(self, request_id: str, admitted: Admitted) -> None:
        """Note which key a call was admitted with."""
        self._note(request_id, admitted.key_name, "")

    def refused(self, request_id: str, refusal: Refusal) -> None:
        """Note why a call was refused. Its key is named once that is verified, as in the log."""
        self._note(request_id, refusal.about.get("key", ""), refusal.reason)

    def _note(self, request_id: str, key: str, reason: str) -> None:
        if len(self._noted) >= _MOST_NOTED:
            with contextlib.suppress(KeyError, StopIteration, RuntimeError):  # another thread did the same
                self._noted.pop(next(iter(self._noted)))
        self._noted[request_id] = key, reason

    def begun(self) -> float:
        """Note a call that has begun, and return when."""
        self._under_way += 1
        return self._clock()

    def ended(self, request_id: str, began: float, received: int, answer: Answer | None) -> None:
        """Count a call. began: see `begun`. received: bytes of its body. answer: None if its caller left before."""
        self._under_way -= 1
        try:
            self._count(request_id, began, received, answer)
        except Exception as fault:  # noqa: BLE001  the call has ended well all the same
            _LOG.warning("a call was not counted: %s", type(fault).__name__)

    def _count(self, request_id: str, began: float, received: int, answer: Answer | None) -> None:
        now = self._clock()
        key, reason = self._noted.pop(request_id, ("", ""))
        key = bounded(key, self._known)
        if answer is None:
            row = key, "none", reason or LEFT
        else:
            row = key, _CLASSES[answer.status // 100] if 100 <= answer.status < 600 else "none", reason or answer.why
        self._calls[row] = self._calls.get(row, 0) + 1
        of_key = self._keys.get(key)
        if of_key is None:
            of_key = self._keys[key] = _OfKey()
        seconds = now - began
        of_key.seconds[bisect_left(BUCKETS, seconds)] += 1
        of_key.seconds_sum += seconds
        of_key.received += received
        if answer is not None:
            seconds = (answer.first_sent_at or now) - began
            of_key.first[bisect_left(BUCKETS, seconds)] += 1
            of_key.first_sum += seconds
            of_key.sent += answer.size

    def answered(self, named: str, use: TokenUse | None) -> None:
        """Count what an answer says that it took; None: it says nothing. named: the key."""
        key = bounded(named, self._known)
        of_key = self._keys.get(key)
        if of_key is None:
            of_key = self._keys[key] = _OfKey()
        tokens = of_key.tokens
        if use is None:
            tokens[3] += 1
        else:
            tokens[0] += use.input
            tokens[1] += use.output
            tokens[2] += use.cached

    async def keep(self) -> None:
        """Write what there is until this is cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(PERIOD)
                self._try()
        finally:
            self._try()

    def _try(self) -> None:
        try:
            self.write()
        except Exception as fault:  # noqa: BLE001  calls go on whatever becomes of their numbers
            _LOG.warning("numbers cannot be written: %s", type(fault).__name__)

    def write(self) -> None:
        """Add what there is to the files."""
        shared = self._shared
        calls, self._calls = self._calls, {}
        keys, self._keys = self._keys, {}
        for row, count in calls.items():
            shared.add(names.CALLS, row, count)
        for key, of_key in keys.items():
            self._write_key((key,), of_key)
        shared.set(names.UNDER_WAY, (), self._under_way)
        for door in self.doors:
            shared.set(names.CONNECTIONS, (door.door,), len(door))

    def _write_key(self, key: tuple[str], numbers: _OfKey) -> None:
        shared = self._shared
        if any(numbers.seconds):
            shared.observe(names.SECONDS, key, numbers.seconds, numbers.seconds_sum)
            shared.observe(names.FIRST_BYTE, key, numbers.first, numbers.first_sum)
            shared.add(names.IO, (*key, "receive"), numbers.received)
            shared.add(names.IO, (*key, "transmit"), numbers.sent)
        for metric, count in zip((names.INPUT, names.OUTPUT, names.CACHED, names.UNKNOWN), numbers.tokens, strict=True):
            if count:
                shared.add(metric, key, count)
