"""One token for all threads and event loops of a process: fetched once, served to all, replaced ahead of its end."""

from __future__ import annotations

import copy
import logging
import os
import random
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, replace
from enum import Enum

from keybroker import elapsed
from keybroker.elapsed import Instant
from keybroker.errors import KeybrokerError, Refused, Unreachable
from keybroker.issued_token import Token
from keybroker.refresh import Due, due

REST = (4.0, 8.0)
"""Seconds, at least and at most, without another request after one that failed while a valid token was there."""
_LONGEST_REST = 60
"""Seconds of a 429's Retry-After during which nothing is asked."""
FORCED_APART = 5.0
"""Seconds between two tokens that are fetched because the edge answered 401: what refuses them all is no token's age."""
PATIENCE = 120.0
"""Seconds that anybody waits for a fetch, whose own waits are shorter; it ends those that nothing else would."""
_LOG = logging.getLogger("keybroker")


@dataclass(frozen=True, slots=True)
class Held:
    """A token, when its request began, and by how much (0 to 1) it is replaced later than others."""

    token: Token
    since: Instant
    spread: float

    def age(self, now: Instant) -> float:
        """Return the seconds since its request began."""
        return elapsed.seconds(self.since, now)

    def due(self, now: Instant) -> Due:
        """Return what its age asks for."""
        return due(self.age(now), self.token.expires_in, self.spread)


class _Step(Enum):
    SERVE = "what is held"
    SERVE_AND_FETCH = "what is held, and fetch the next one meanwhile"
    WAIT = "for a fetch, one's own or another's"
    REFUSE = "as the broker just did; it named a time until which asking is useless"


class SharedToken:
    """Serves a token that `fetch` gets; at most one fetch is under way, in a thread of its own.

    A thread of its own, so that it goes on if whoever waits is cancelled or interrupted, and so that event loops and
    threads can wait for the same one. It is a daemon: it keeps no program from ending.
    """

    def __init__(self, fetch: Callable[[], Token], now: Callable[[], Instant] = elapsed.now) -> None:
        self._fetch = fetch
        self._now = now
        self._held: Held | None = None
        self._fault: KeybrokerError | None = None
        self._rests_until = 0.0
        self._forced: Instant | None = None
        self.after_fork()
        _EVERY.add(self)

    def after_fork(self) -> None:
        """Start anew in a child process: the thread that fetched, or held the lock, is not there. The token still is."""
        self._lock = threading.Lock()
        self._flight: Future[Held | KeybrokerError] | None = None
        if self._held is not None:  # a server's workers were forked together, and must not all ask together
            self._held = replace(self._held, spread=random.random())  # noqa: S311  no secret

    def get(self, rejected: str | None = None) -> Held:
        """Return a token that is valid now, and wait for one only if none is.

        rejected: a token's text that was answered with 401; another one is fetched if that is the one still held, but
        not twice within FORCED_APART. Raises KeybrokerError if there is no valid token and none can be fetched.
        """
        found = self._found(rejected)
        if isinstance(found, Held):
            return found
        try:
            outcome = found.result(PATIENCE)
        except Late:
            outcome = _late()
        return self._served(outcome, rejected)

    async def get_async(self, rejected: str | None = None) -> Held:
        """Do as `get` does, from any event loop; if this is cancelled, the fetch goes on for the others."""
        found = self._found(rejected)
        if isinstance(found, Held):
            return found
        import asyncio  # noqa: PLC0415  whoever calls this has it; others need not wait for it

        try:
            outcome = await asyncio.wait_for(asyncio.wrap_future(found), PATIENCE)
        except TimeoutError:
            outcome = _late()
        return self._served(outcome, rejected)

    def forget(self) -> Held | None:
        """Hold no token any more, so that the next call fetches one; return the one that was held, if it still lives."""
        with self._lock:
            held, self._held = self._held, None
        return held if held is not None and held.due(self._now()) is not Due.DEAD else None

    def _found(self, rejected: str | None) -> Held | Future[Held | KeybrokerError]:
        """Return the token to serve, or the fetch to wait for; starts one where it is due."""
        held, now = self._held, self._now()
        if held is not None and held.token.access_token != rejected and held.due(now) is Due.NOTHING:
            return held  # without the lock: nearly every call ends here
        with self._lock:
            held = self._held
            step = self._step(held, rejected, now)
            if held is not None and step is _Step.SERVE:
                return held
            if self._fault is not None and step is _Step.REFUSE:
                raise _again(self._fault)
            flight = self._flight
            mine = flight is None
            if flight is None:
                flight = self._flight = Future()
                flight.set_running_or_notify_cancel()  # from here on nobody who waits can cancel it
        if mine:
            self._start(flight)
        return held if held is not None and step is _Step.SERVE_AND_FETCH else flight

    def _step(self, held: Held | None, rejected: str | None, now: Instant) -> _Step:
        """Decide, under the lock."""
        resting = now.steady < self._rests_until
        state = Due.DEAD if held is None else held.due(now)
        if held is None or state is Due.DEAD:
            told = isinstance(self._fault, Refused) and self._fault.status == 429
            return _Step.REFUSE if resting and told else _Step.WAIT
        if held.token.access_token == rejected:
            if self._flight is not None:
                return _Step.WAIT
            if self._forced is not None and elapsed.seconds(self._forced, now) < FORCED_APART:
                return _Step.SERVE
            self._forced = now
            return _Step.WAIT
        if state is Due.NOW and self._fault is None:
            return _Step.WAIT
        return _Step.SERVE if state is Due.NOTHING or resting else _Step.SERVE_AND_FETCH

    def _start(self, flight: Future[Held | KeybrokerError]) -> None:
        thread = threading.Thread(target=self._fly, args=(flight,), name="keybroker-fetch", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread can be started any more: the interpreter ends, or there are too many
            self._fly(flight)

    def _fly(self, flight: Future[Held | KeybrokerError]) -> None:
        began = self._now()
        try:
            outcome = Held(self._fetch(), began, random.random())  # noqa: S311  no secret
        except KeybrokerError as fault:
            self._failed(fault, flight)
            flight.set_result(fault)
        except BaseException as fault:  # noqa: BLE001  whoever waits must get it, whatever it is
            self._failed(None, flight)
            flight.set_exception(fault)
        else:
            with self._lock:
                self._held, self._fault, self._flight = outcome, None, None
            flight.set_result(outcome)

    def _failed(self, fault: KeybrokerError | None, flight: Future[Held | KeybrokerError]) -> None:
        rest = random.uniform(*REST)  # noqa: S311  no secret
        if isinstance(fault, Refused) and fault.retry_after is not None:
            rest = min(fault.retry_after, _LONGEST_REST)
        with self._lock:
            if self._flight is flight:
                self._flight = None
            self._fault, self._rests_until = fault, self._now().steady + rest

    def _served(self, outcome: Held | KeybrokerError, rejected: str | None) -> Held:
        if isinstance(outcome, Held):
            return outcome
        held = self._held
        if held is None or held.token.access_token == rejected or held.due(self._now()) is Due.DEAD:
            raise _again(outcome)
        _LOG.warning("the next token could not be fetched, the valid one is served on: %s", outcome)
        return held


def _again(fault: KeybrokerError) -> KeybrokerError:
    """Return a copy to raise: one exception raised by fifty threads would collect the frames of them all."""
    # SECURITY: without its cause and its traceback, for the locals of those frames hold the identity token, and crash
    # reporters show locals (test_no_frame_of_an_error_holds_the_identity_token).
    return copy.copy(fault)


def _late() -> Unreachable:
    return Unreachable(f"no token came within {PATIENCE:.0f} s")


_EVERY: weakref.WeakSet[SharedToken] = weakref.WeakSet()


def _after_fork() -> None:
    for one in list(_EVERY):
        one.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
