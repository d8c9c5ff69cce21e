"""One token for all threads and event loops of a process: fetched once, served to all, replaced before it expires."""

from __future__ import annotations

import copy
import logging
import os
import random
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, replace
from enum import Enum

from keybroker import clock
from keybroker.clock import Timestamp
from keybroker.errors import KeybrokerError, Refused, Unreachable
from keybroker.refresh import Due, due
from keybroker.token import Token

REST = (4.0, 8.0)
"""Seconds, at least and at most, without another request after one that failed while a token was still valid."""
_LONGEST_REST = 60
"""Seconds of a Retry-After during which no request is sent."""
FORCED_APART = 5.0
"""Seconds between two fetches after a 401 of the edge: if fresh tokens are refused too, their age is not the reason."""
TIMEOUT = 120.0
"""Seconds that a caller waits for a fetch; the fetch's own time limits are shorter, so this is the last resort."""
_LOG = logging.getLogger("keybroker")


@dataclass(frozen=True, slots=True)
class HeldToken:
    """A token. since: when its request began. spread: from 0 to 1, how much later than others it is replaced."""

    token: Token
    since: Timestamp
    spread: float

    def age(self, now: Timestamp) -> float:
        """Return the seconds since its request began."""
        return clock.elapsed(self.since, now)

    def due(self, now: Timestamp) -> Due:
        """Return what its age asks for."""
        return due(self.age(now), self.token.expires_in, self.spread)


class _Step(Enum):
    SERVE = "serve the held token"
    SERVE_AND_FETCH = "serve the held token, and fetch the next one in the background"
    WAIT = "wait for the fetch under way, or start one"
    REFUSE = "raise the broker's last refusal: its Retry-After is not over yet"


class SharedToken:
    """Serves a token that `fetch` gets; at most one fetch is under way, in a thread of its own.

    A thread of its own, so that it continues if a waiting caller is cancelled or interrupted, and so that event loops and
    threads can wait for the same fetch. It is a daemon, so it does not keep a program from exiting.
    """

    def __init__(self, fetch: Callable[[], Token], now: Callable[[], Timestamp] = clock.now) -> None:
        self._fetch = fetch
        self._now = now
        self._held: HeldToken | None = None
        self._last_error: KeybrokerError | None = None
        self._rests_until = 0.0
        self._forced_at: Timestamp | None = None
        self.after_fork()
        _INSTANCES.add(self)

    def after_fork(self) -> None:
        """Reset in a child process, which has the token but not the threads that fetched or held the lock."""
        self._lock = threading.Lock()
        self._pending: Future[HeldToken | KeybrokerError] | None = None
        if self._held is not None:  # workers that were forked together must not all refresh together
            self._held = replace(self._held, spread=random.random())  # noqa: S311  no secret

    def get(self, rejected: str | None = None) -> HeldToken:
        """Return a valid token; waits only if none is held.

        rejected: the text of a token that got a 401; if it is still the held one, another is fetched, but not twice
        within FORCED_APART. Raises KeybrokerError if there is no valid token and none can be fetched.
        """
        found = self._held_or_pending(rejected)
        if isinstance(found, HeldToken):
            return found
        try:
            outcome = found.result(TIMEOUT)
        except FutureTimeoutError:
            outcome = _timed_out()
        return self._resolve(outcome, rejected)

    async def get_async(self, rejected: str | None = None) -> HeldToken:
        """Do as `get` does, from any event loop; if this is cancelled, the fetch continues for the others."""
        found = self._held_or_pending(rejected)
        if isinstance(found, HeldToken):
            return found
        import asyncio  # noqa: PLC0415  callers have it loaded; others need not wait for it

        try:
            outcome = await asyncio.wait_for(asyncio.wrap_future(found), TIMEOUT)
        except TimeoutError:
            outcome = _timed_out()
        return self._resolve(outcome, rejected)

    def discard(self) -> HeldToken | None:
        """Drop the held token, so that the next call fetches one; return the dropped one if it is still valid."""
        with self._lock:
            held, self._held = self._held, None
        return held if held is not None and held.due(self._now()) is not Due.DEAD else None

    def _held_or_pending(self, rejected: str | None) -> HeldToken | Future[HeldToken | KeybrokerError]:
        """Return the token to serve, or the fetch to wait for; starts a fetch where one is due."""
        held, now = self._held, self._now()
        if held is not None and held.token.access_token != rejected and held.due(now) is Due.NOTHING:
            return held  # without the lock: nearly every call ends here
        with self._lock:
            held = self._held
            step = self._step(held, rejected, now)
            if held is not None and step is _Step.SERVE:
                return held
            if self._last_error is not None and step is _Step.REFUSE:
                raise _fresh_copy(self._last_error)
            pending = self._pending
            is_new = pending is None
            if pending is None:
                pending = self._pending = Future()
                pending.set_running_or_notify_cancel()  # from here on no waiting caller can cancel it
        if is_new:
            self._start(pending)
        return held if held is not None and step is _Step.SERVE_AND_FETCH else pending

    def _step(self, held: HeldToken | None, rejected: str | None, now: Timestamp) -> _Step:
        """Decide what to do; called under the lock."""
        resting = now.monotonic < self._rests_until
        state = Due.DEAD if held is None else held.due(now)
        if held is None or state is Due.DEAD:
            throttled = isinstance(self._last_error, Refused) and self._last_error.status == 429
            return _Step.REFUSE if resting and throttled else _Step.WAIT
        if held.token.access_token == rejected:
            if self._pending is not None:
                return _Step.WAIT
            if self._forced_at is not None and clock.elapsed(self._forced_at, now) < FORCED_APART:
                return _Step.SERVE
            self._forced_at = now
            return _Step.WAIT
        if state is Due.NOW and self._last_error is None:
            return _Step.WAIT
        return _Step.SERVE if state is Due.NOTHING or resting else _Step.SERVE_AND_FETCH

    def _start(self, pending: Future[HeldToken | KeybrokerError]) -> None:
        thread = threading.Thread(target=self._run_fetch, args=(pending,), name="keybroker-fetch", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread can be started: the interpreter is exiting, or there are too many
            self._run_fetch(pending)

    def _run_fetch(self, pending: Future[HeldToken | KeybrokerError]) -> None:
        began = self._now()
        try:
            outcome = HeldToken(self._fetch(), began, random.random())  # noqa: S311  no secret
        except KeybrokerError as error:
            self._note_failure(error, pending)
            pending.set_result(error)
        except BaseException as error:  # noqa: BLE001  passed on to the waiting callers
            self._note_failure(None, pending)
            pending.set_exception(error)
        else:
            with self._lock:
                self._held, self._last_error, self._pending = outcome, None, None
            pending.set_result(outcome)

    def _note_failure(self, error: KeybrokerError | None, pending: Future[HeldToken | KeybrokerError]) -> None:
        rest = random.uniform(*REST)  # noqa: S311  no secret
        if isinstance(error, Refused) and error.retry_after is not None:
            rest = min(error.retry_after, _LONGEST_REST)
        with self._lock:
            if self._pending is pending:
                self._pending = None
            self._last_error, self._rests_until = error, self._now().monotonic + rest

    def _resolve(self, outcome: HeldToken | KeybrokerError, rejected: str | None) -> HeldToken:
        if isinstance(outcome, HeldToken):
            return outcome
        held = self._held
        if held is None or held.token.access_token == rejected or held.due(self._now()) is Due.DEAD:
            raise _fresh_copy(outcome)
        _LOG.warning("could not fetch the next token; still using the current one: %s", outcome)
        return held


def _fresh_copy(error: KeybrokerError) -> KeybrokerError:
    """Return a copy to raise: one exception raised by fifty threads would collect the frames of all of them."""
    # SECURITY: without its cause and its traceback: the locals of those frames hold the identity token, and crash
    # reporters show locals (test_no_frame_of_an_error_holds_the_identity_token).
    return copy.copy(error)


def _timed_out() -> Unreachable:
    return Unreachable(f"timed out after {TIMEOUT:.0f} s waiting for a token")


_INSTANCES: weakref.WeakSet[SharedToken] = weakref.WeakSet()


def _after_fork() -> None:
    for shared in list(_INSTANCES):
        shared.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
