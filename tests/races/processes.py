"""A field of processes over one store, each with a clock and connections of its own."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator, MutableSequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from chalicelib.exchange.ledger import ExchangeState, Ledger, StateQuery
from chalicelib.quota import Limit
from chalicelib.revocation import EVERYTHING, Revocation
from tests.contracts import samples
from tests.contracts.adapters import Adapters, Control
from tests.contracts.samples import ISSUER, SUB, grant, issuer, put_in_force
from tests.races.actor import Actor, keys_in
from tests.races.course import Course
from tests.races.racer import Racer, Recorded, Told
from tests.races.stores import Store
from tests.races.together import SPAWN

OFFSETS = (-60, 0, 60)
"""Seconds by which each process's clock is off."""
CALLERS = 2
SLOTS = 2 * CALLERS + 2
DAWDLE = 0.04
"""Seconds that a slow exchange waits at most between what it reads and what it writes."""
PATIENCE = 60.0
_MANY = Limit(1_000_000_000, "day")


@dataclass(frozen=True)
class _Seat:
    """What a process is handed. inboxes: of all; its own is `number`."""

    number: int
    store: Store
    directory: Path
    progress: MutableSequence[int]
    inboxes: tuple[SimpleQueue[Told], ...]

    def tell(self, slot: int) -> None:
        """Count one more. A slot is one thread's own."""
        self.progress[self.number * SLOTS + slot] += 1

    def hand_on(self, one: Told) -> None:
        """Hand a token to all others."""
        for number, inbox in enumerate(self.inboxes):
            if number != self.number:
                inbox.put(one)


class _Dawdling:
    """A ledger that takes its time after reading, so that a revocation may come and go before the token is written."""

    def __init__(self, real: Ledger) -> None:
        self._real = real
        self.issue, self.record, self.page, self.count_issued = real.issue, real.record, real.page, real.count_issued

    def find(self, query: StateQuery) -> ExchangeState:
        """See `Ledger.find`."""
        found = self._real.find(query)
        time.sleep(random.uniform(0, DAWDLE))
        return found


def _race(seat: _Seat, parent: Connection) -> None:
    """Run rounds as the parent says: a token to begin with each, then the word to stop; None at the end."""
    with seat.store.open() as opened:
        actor = Actor.over(opened.adapters, keys_in(seat.directory))
        racer = Racer(
            actor,
            actor,
            replace(actor, ledger=_Dawdling(actor.ledger), grant=None),
            callers=CALLERS,
            offset=OFFSETS[seat.number],
            tell=seat.tell,
            hand_on=seat.hand_on,
        )
        threading.Thread(target=_listen, args=(racer, seat.inboxes[seat.number]), daemon=True).start()
        parent.send("ready")
        while (first := parent.recv()) is not None:
            racer.begin(first)
            parent.recv()
            parent.send(racer.end())
        racer.leave()


def _listen(racer: Racer, inbox: SimpleQueue[Told]) -> None:
    while True:
        racer.take(inbox.get())


class _Processes:
    """`tests.races.course.Field`."""

    offset = min(OFFSETS)
    callers = CALLERS

    def __init__(self, acts: Actor, control: Control, pipes: list[Connection], counted: MutableSequence[int]) -> None:
        self.acts, self._control, self._pipes, self._counted = acts, control, pipes, counted
        self._asked: Revocation | None = None

    def targets(self) -> dict[str, str]:
        """See `Field.targets`."""
        return {"everything": EVERYTHING.id, "issuer": ISSUER, "key": "openai", "grant": "ci", "principal": SUB}

    def revoke(self, scope: str, target: str) -> str:
        """See `Field.revoke`; repeated, it is the same revocation."""
        asked = self._asked or samples.revocation(scope, target, at=int(time.time()))
        self._asked = asked
        self._control.revoke(asked, samples.event("revocation.made", at=asked.at))
        self._asked = None
        return asked.id

    def restore(self, revocation_id: str) -> None:
        """See `Field.restore`."""
        event = samples.event("revocation.lifted", at=int(time.time()))
        assert self._control.restore(revocation_id, "tester", event)

    def begin(self, first: Told) -> None:
        """See `Field.begin`."""
        for pipe in self._pipes:
            pipe.send(first)

    def end(self) -> list[Recorded]:
        """See `Field.end`."""
        for pipe in self._pipes:
            pipe.send("stop")
        return [_received(pipe) for pipe in self._pipes]

    def progress(self) -> tuple[int, ...]:
        """See `Field.progress`."""
        return tuple(self._counted)


def _received(pipe: Connection) -> Recorded:
    assert pipe.poll(PATIENCE), "a process does not answer"
    recorded: Recorded = pipe.recv()
    return recorded


@contextmanager
def course_over(store: Store, directory: Path) -> Iterator[Course]:
    """Start the processes over an empty store."""
    with store.open() as opened, contextlib.ExitStack() as stack:
        _prepare(opened.adapters, directory)
        counted = SPAWN.RawArray("l", SLOTS * len(OFFSETS))
        inboxes = tuple(SPAWN.SimpleQueue() for _ in OFFSETS)
        seats = [_Seat(number, store, directory, counted, inboxes) for number in range(len(OFFSETS))]
        pipes = [stack.enter_context(_started(seat)) for seat in seats]
        for pipe in pipes:
            assert pipe.poll(PATIENCE), "a process did not start"
            pipe.recv()
        actor = Actor.over(opened.adapters, keys_in(directory))
        yield Course(_Processes(actor, opened.adapters.control, pipes, counted))


def _prepare(adapters: Adapters, directory: Path) -> None:
    adapters.control.list_signing_keys((keys_in(directory).broker.kid(),))
    made = grant(calls=(_MANY,), issued=(_MANY,))
    put_in_force(adapters.control, made, issuers=(issuer(single_use=True),), at=int(time.time()))


@contextmanager
def _started(seat: _Seat) -> Iterator[Connection]:
    ours, theirs = SPAWN.Pipe()
    process: SpawnProcess = SPAWN.Process(target=_race, args=(seat, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        with contextlib.suppress(OSError):
            ours.send(None)
        process.join(10)
        process.kill()
        ours.close()
