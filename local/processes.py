"""The child processes of `serve`. One that dies is its own affair: it is started again, and the others serve on."""

from __future__ import annotations

import contextlib
import logging
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from local.errors import PartDidNotStart

START_SECONDS = 30.0
STOP_SECONDS = 8.0
STEADY_SECONDS = 60.0
"""A process that served this long has started well: the next one may follow soon again."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
"""Seconds before a process is started again; the pause doubles while each dies before it is steady."""

_LOG = logging.getLogger("keybroker")
Spawn = Callable[[], tuple[BaseProcess, Connection]]
"""Starts a process; returns it with a line to it, which brings a message once it responds, and takes what it is handed.

Raises OSError.
"""


class Part:
    """One child process and those that take its place. Times are those of the monotonic clock, in seconds."""

    def __init__(self, name: str, spawn: Spawn) -> None:
        self.name = name
        self._spawn = spawn
        self._process: BaseProcess | None = None
        self._line: Connection | None = None
        self._responds = False
        self._began = self._due = 0.0
        self._pause = FIRST_PAUSE
        self.starts = 0
        """Processes that were started, or tried to."""
        self._held: object = None

    def start(self) -> None:
        """Start a process. One that the system refuses is tried again later, as one that died."""
        self._began = time.monotonic()
        # Ctrl-C reaches the whole process group, and the parent decides. Blocked from its first moment on, a child is not even
        # interrupted while it imports.
        resource_tracker.ensure_running()  # which multiprocessing does anyway, and lifts a block of SIGINT
        self.starts += 1
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process, self._line = self._spawn()
        except OSError as error:
            self._again_later(f"cannot be started: {error}")
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def await_first(self) -> None:
        """Wait until the first process responds; raises PartDidNotStart with the part and how it ended."""
        process, line = self._process, self._line
        with contextlib.suppress(EOFError):  # it died before it was ready
            if process and line and line.poll(START_SECONDS):
                line.recv()
                self._responds = True
                return
        if process:
            process.join(1.0)
        raise PartDidNotStart(hint=f"{self.name} {_end(process)}; what it printed says why")

    def watched(self) -> Sequence[int | Connection]:
        """Return what `multiprocessing.connection.wait` is to wait for."""
        one = [self._process.sentinel] if self._process else []
        return [*one, self._line] if self._line and not self._responds else one

    def due(self, now: float) -> float:
        """Return the seconds until something is to be done though nothing happens."""
        if self._process is None:
            return self._due - now
        return START_SECONDS if self._responds else self._began + START_SECONDS - now

    def tend(self) -> None:
        """Look how the process is, and start another one if it is time."""
        if self._process is None:
            if time.monotonic() >= self._due:
                self.start()
        elif not self._process.is_alive():
            self._again_later(_end(self._process))
        elif self._responds:
            self._deliver()
        elif self._line and self._line.poll():
            with contextlib.suppress(EOFError):  # it is about to die; the next look sees that
                self._line.recv()
                _LOG.warning("%s serves again", self.name)
            self._responds = True
            self._deliver()
        elif time.monotonic() > self._began + START_SECONDS:
            self._process.kill()
            self._process.join()
            self._again_later(f"did not respond within {START_SECONDS:.0f} s")

    def hand(self, what: object) -> None:
        """Hand something to the process, once it responds and takes it; what it has not been given by then, never."""
        self._held = what
        if self._responds:
            self._deliver()

    def terminate(self) -> None:
        """Ask the process to stop."""
        if self._process:
            self._process.terminate()

    def join(self, seconds: float) -> None:
        """Wait for the end of the process, and then kill it."""
        if self._process:
            self._process.join(seconds)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
        self._hang_up()

    def _deliver(self) -> None:
        if self._held is None or self._line is None:
            return
        # A process that is stuck takes nothing, and a parent that waited for it would watch over none of the others.
        room = select.poll()
        room.register(self._line, select.POLLOUT)
        if not room.poll(0):
            return
        held, self._held = self._held, None
        with contextlib.suppress(OSError):  # it has just died; the next one starts with what is in force
            self._line.send(held)

    def _hang_up(self) -> None:
        if self._line:
            self._line.close()
        self._line, self._responds = None, False

    def _again_later(self, how: str) -> None:
        self._hang_up()
        self._process = None
        now = time.monotonic()
        pause = FIRST_PAUSE if now - self._began >= STEADY_SECONDS else self._pause
        self._due, self._pause = now + pause, min(2 * pause, LONGEST_PAUSE)
        _LOG.warning("%s %s; another one starts in %.2g s", self.name, how, pause)


class Processes:
    """All child processes."""

    def __init__(self, parts: Sequence[Part], stop_seconds: float = STOP_SECONDS) -> None:
        """stop_seconds: how long they have to stop, before they are killed."""
        self._parts = parts
        self._stop_seconds = stop_seconds

    @property
    def starts(self) -> int:
        """How many processes were started, the first ones too."""
        return sum(part.starts for part in self._parts)

    @contextlib.contextmanager
    def running(self) -> Iterator[Processes]:
        """Start all of them, in parallel, and stop them at the end; raises PartDidNotStart unless all respond in time."""
        try:
            for part in self._parts:
                part.start()
            for part in self._parts:
                part.await_first()
            yield self
        finally:
            self._stop()

    def watch(self, seconds: float, stop: Sequence[int] = ()) -> None:
        """Wait until something happens or is due, and tend to every part. stop: has a member once all of them are to end."""
        now = time.monotonic()
        longest = min([seconds, *(part.due(now) for part in self._parts)])
        wait([one for part in self._parts for one in part.watched()], timeout=max(0.0, longest))
        if stop:  # a signal to the whole process group ends them, too
            return
        for part in self._parts:
            part.tend()

    def hand(self, what: object) -> None:
        """Hand the same to every part: at most some 128 KiB, which a line takes at once."""
        for part in self._parts:
            part.hand(what)

    def _stop(self) -> None:
        """Stop all processes, with SIGKILL at the end of the time that they have."""
        for part in self._parts:
            part.terminate()
        deadline = time.monotonic() + self._stop_seconds
        for part in self._parts:
            part.join(max(0.0, deadline - time.monotonic()))


def _end(process: BaseProcess | None) -> str:
    """Say how a process ended."""
    code = process.exitcode if process else None
    if code is None:
        return "did not start in time"
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
