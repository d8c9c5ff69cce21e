"""The calls of one worker that are under way: each is ended within a second of what stops it, an answer in the middle of it.

The state of all of them is read twice a second, in one round trip however many there are, in a thread of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from chalicelib.edge.call import Admitted
from chalicelib.edge.running import RunningCall, RunningState, Seen
from chalicelib.edge.token import VerifiedToken
from chalicelib.errors import Refusal, StateUnavailable, Unavailable

PERIOD: Final = 0.5
"""Seconds from one look to the next."""
PATIENCE: Final = 10.0
"""Seconds that calls run on without their state being seen."""
_LOG: Final = logging.getLogger("keybroker")


class Run:
    """One call under way: a `with` block of the task that serves it, or from `begin` to `finish` where no task does."""

    __slots__ = ("_calls", "_cut", "_ends_with_token", "_key", "_refusal", "_task", "_token", "request_id")

    def __init__(
        self, calls: RunningCalls, request_id: str, token: VerifiedToken, key: str, *, ends_with_token: bool
    ) -> None:
        """key: its name. ends_with_token: see `RunningCall`."""
        self._calls, self.request_id = calls, request_id
        self._token, self._key, self._ends_with_token = token, key, ends_with_token
        self._task: asyncio.Task[object] | None = None
        self._cut: Callable[[Refusal], None] | None = None
        self._refusal: Refusal | None = None

    @property
    def call(self) -> RunningCall:
        """The call; few run for so long that it is looked at."""
        return RunningCall(self._token, self._key, self._ends_with_token)

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._calls.open.add(self)
        return self

    def __exit__(self, _kind: type[BaseException] | None, _raised: object, _where: TracebackType | None) -> None:
        self.finish()

    def begin(self, cut: Callable[[Refusal], None]) -> None:
        """Keep the call until `finish`. cut: ends it, and is told why."""
        self._cut = cut
        self._calls.open.add(self)

    def finish(self) -> None:
        """Keep it no longer: it has ended."""
        self._calls.open.discard(self)
        self._cut = None  # see `Deadline.close`

    def end(self, refusal: Refusal) -> None:
        """End the call, once: by what `begin` was given, or by cancelling the task that serves it."""
        cut, self._refusal = self._cut, refusal
        self.finish()
        if cut is not None:
            cut(refusal)
        elif self._task is not None:
            self._task.cancel()

    def ended_by(self) -> Refusal | None:
        """Return why the task was cancelled, which it then is no longer; None if that was not, or not only, by `end`."""
        if self._refusal is None or self._task is None or self._task.uncancel():
            return None
        return self._refusal


class RunningCalls:
    """Those of one distribution; only for its event loop. `open`: the calls; `watch()` runs beside them.

    clock: epoch seconds. log: takes one line for each that is ended. ended: is told its request id, and why.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], int] = lambda: int(time.time()),
        log: Callable[[str], None] = _LOG.info,
        period: float = PERIOD,
        patience: float = PATIENCE,
        ended: Callable[[str, Refusal], None] = lambda _request_id, _refusal: None,
    ) -> None:
        self.open: set[Run] = set()
        self._clock, self._log, self._ended = clock, log, ended
        self._period, self._patience = period, patience
        self._said = False

    def run(self, request_id: str, admitted: Admitted | None, *, ends_with_token: bool = False) -> Run | None:
        """Return a call to be kept within a `with` block while it is under way; None if nothing is known of it."""
        if admitted is None or admitted.token is None:
            return None
        return Run(self, request_id, admitted.token, admitted.key_name, ends_with_token=ends_with_token)

    async def watch(self, state: Callable[[], RunningState]) -> None:
        """End what must not run on, until this is cancelled. state: raises Unavailable while there is none."""
        loop = asyncio.get_running_loop()
        seen_at = loop.time()
        thread = ThreadPoolExecutor(1, thread_name_prefix="edge-running")
        try:
            while True:
                began = loop.time()
                if await self._look(state, thread, max(self._period, seen_at + self._patience - began)):
                    seen_at = began
                # SECURITY: what cannot be seen does not run on for ever (test_no_state_for_long_ends_every_call).
                elif loop.time() >= seen_at + self._patience:
                    for run in tuple(self.open):
                        self._end(run, StateUnavailable())
                await asyncio.sleep(max(0.0, began + self._period - loop.time()))
        finally:
            thread.shutdown(wait=False, cancel_futures=True)

    async def _look(self, state: Callable[[], RunningState], thread: ThreadPoolExecutor, seconds: float) -> bool:
        """See the state and end what it stops, within so many seconds; return whether it was seen."""
        self._check(lambda run: run.call.check_time(self._clock()), self.open)
        runs = tuple(self.open)
        if not runs:
            return True
        targets = {target for run in runs for target in run.call.targets().values()}

        def see() -> Seen:
            return state().see(targets)

        try:
            async with asyncio.timeout(seconds):
                seen = await asyncio.get_running_loop().run_in_executor(thread, see)
        except Exception as fault:  # noqa: BLE001  whatever it is, nothing was seen, and the next look is taken
            self._say(fault)
            return False
        self._said = False
        now = self._clock()
        self._check(lambda run: run.call.check(seen, now), self.open.intersection(runs))
        return True

    def _check(self, check: Callable[[Run], None], runs: Iterable[Run]) -> None:
        for run in tuple(runs):
            try:
                check(run)
            except Refusal as refusal:
                self._end(run, refusal)

    def _end(self, run: Run, refusal: Refusal) -> None:
        line = {"door": "edge", "reason": refusal.reason, "status": refusal.status, "request_id": run.request_id}
        self._log(json.dumps({**line, **run.call.about(), "under_way": True}))
        self._ended(run.request_id, refusal.with_context(about=run.call.about()))
        run.end(refusal)

    def _say(self, fault: Exception) -> None:
        if not self._said:
            reason = fault.reason if isinstance(fault, Unavailable) else type(fault).__name__
            text = "the state of %d calls under way cannot be read: %s; they end in %d s unless it is back"
            _LOG.warning(text, len(self.open), reason, self._patience)
        self._said = True
