"""The racers: threads that call with every token that is issued, and threads that fetch new ones."""

from __future__ import annotations

import functools
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol

from chalicelib.errors import Refusal
from tests.contracts.samples import jti_of
from tests.contracts.verbs import claims_of
from tests.races.verdict import ADMITTED, ISSUED, Call, Mint

PAUSE = 0.01
"""The longest pause, in seconds, between two token fetches, so that the store is mostly busy with calls."""
LEEWAY = 30
"""Seconds that a clock may be behind that of the token's issuer."""
_GHOSTS = 4
"""Tokens of earlier rounds that are tried again."""


class Acts(Protocol):
    """What a caller does. Everything raises Refusal, whose reason is recorded. now: epoch seconds."""

    def subject_token(self, subject: str, now: int) -> str:
        """Return an identity token of its own."""

    def exchange(self, subject_token: str, now: int) -> str:
        """Return a token of ours."""

    def call(self, token: str, now: int) -> None:
        """Make a call."""


@dataclass(frozen=True)
class Told:
    """A token that is handed on: in which round, by whose clock it was issued (seconds off), and the token."""

    round: int
    offset: int
    jti: str
    text: str


def told(number: int, offset: int, token: str) -> Told:
    """Return a token as it is handed on."""
    return Told(number, offset, jti_of(token), token)


Recorded = tuple[list[Call], list[Mint]]


class Racer:
    """Threads of one process. offset: seconds by which its clock is off.

    calls: makes calls, in so many threads as `callers` says. brisk, slow: fetch tokens; nobody waits for the slow one.
    tell: counts, by slot, each caller's calls and those admitted; exchanges, tokens issued. hand_on: takes new tokens.
    """

    def __init__(
        self,
        calls: Acts,
        brisk: Acts,
        slow: Acts,
        *,
        callers: int,
        offset: int,
        tell: Callable[[int], None],
        hand_on: Callable[[Told], None],
    ) -> None:
        self._calls, self._brisk, self._slow = calls, brisk, slow
        self._callers, self._offset, self._tell, self._hand_on = callers, offset, tell, hand_on
        self._threads = ThreadPoolExecutor(callers + 2)
        self._stop = threading.Event()
        self._ghosts: deque[Told] = deque(maxlen=_GHOSTS)
        self._held: list[Told] = []
        self._recorded: Recorded = ([], [])
        self._running: tuple[Future[None], ...] = ()

    def begin(self, first: Told) -> None:
        """Start a round with one token that everybody has, and nothing recorded."""
        if first.round == 0:
            self._ghosts.clear()
        else:
            self._ghosts.extend(self._held[:2])
        self._held, self._recorded = [first], ([], [])
        self._stop.clear()
        loops = [functools.partial(self._call, number) for number in range(self._callers)]
        loops += [
            functools.partial(self._mint, self._brisk, 2 * self._callers),
            functools.partial(self._mint, self._slow),
        ]
        self._running = tuple(self._threads.submit(loop) for loop in loops)

    def end(self) -> Recorded:
        """End the round and return what was done in it."""
        self._stop.set()
        for one in self._running:
            one.result()
        return self._recorded

    def leave(self) -> None:
        """End the threads."""
        self._stop.set()
        wait(self._running)
        self._threads.shutdown()

    def take(self, one: Told) -> None:
        """Take a token to call with, unless it is of another round, or from what is the future by this clock."""
        if self._held and one.round == self._held[0].round and one.offset <= self._offset + LEEWAY:
            self._held.append(one)

    def _now(self) -> int:
        return int(time.time()) + self._offset

    def _choose(self) -> Told:
        """Return the newest token, one of the last few, the round's first, any, or one of an earlier round."""
        held, ghosts = self._held, tuple(self._ghosts)
        choices = (held[-1], random.choice(held[-6:]), held[0], random.choice(held))
        return random.choice(ghosts) if ghosts and random.random() < 0.1 else random.choice(choices)

    def _call(self, number: int) -> None:
        while not self._stop.is_set():
            one = self._choose()
            start = time.monotonic()
            try:
                self._calls.call(one.text, self._now())
                outcome = ADMITTED
            except Refusal as refusal:
                outcome = refusal.reason
            self._recorded[0].append(Call(one.jti, start, time.monotonic(), outcome))
            self._tell(2 * number)
            if outcome == ADMITTED:
                self._tell(2 * number + 1)

    def _mint(self, acts: Acts, slot: int | None = None) -> None:
        while not self._stop.is_set():
            # An issuer's clock that is behind everybody's, so that nobody takes its tokens to be from the future.
            subject_token = acts.subject_token("build-1", int(time.time()) - 60)
            start = time.monotonic()
            try:
                token = acts.exchange(subject_token, self._now())
            except Refusal as refusal:
                self._recorded[1].append(Mint(start, time.monotonic(), refusal.reason))
            else:
                self._got(Mint(start, time.monotonic(), ISSUED, jti_of(token), epochs_of(token)), token)
                if slot is not None:
                    self._tell(slot + 1)
            if slot is not None:
                self._tell(slot)
            time.sleep(random.uniform(0, PAUSE))

    def _got(self, mint: Mint, token: str) -> None:
        self._recorded[1].append(mint)
        one = Told(self._held[0].round, self._offset, mint.jti, token)
        self.take(one)
        self._hand_on(one)


def epochs_of(token: str) -> tuple[int, ...]:
    """Return the epochs that a token carries."""
    epochs = claims_of(token)["ep"]
    assert isinstance(epochs, list)
    return tuple(epochs)
