"""Runs a program as a child: masks its output, and passes signals and its exit code on."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, BinaryIO, NoReturn, Self

from keybroker.cli.command_error import CommandError
from keybroker.cli.isolation import Started, Wall
from keybroker.cli.mask import Mask

NOT_EXECUTABLE = 126
NOT_FOUND = 127
_QUIET = 1.0
"""Seconds without output after which we stop reading once the program has ended: processes that it left running may hold
its output open forever."""
_CHUNK = 64 * 1024
_SIGNALS = ("SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH")
_FROM_TERMINAL = ("SIGINT", "SIGQUIT", "SIGWINCH")
"""Signals that a terminal sends to the child as well."""


def run(
    command: Sequence[str],
    environ: Mapping[str, str],
    secrets: Sequence[str] | None,
    signals: Signals,
    wall: Wall | None = None,
) -> int:
    """Run a program to its end and return its exit code, 128 + n for signal n.

    secrets: masked in what it writes; None leaves it the terminal. wall: what keeps it apart. Raises CommandError with code
    127 if there is no such program, 126 if it cannot be executed.
    """
    with _start_errors(command[0]):
        started = (wall or Wall()).start(command, environ, None if secrets is None else subprocess.PIPE)
    process = started.process
    streams = ((process.stdout, sys.stdout.buffer), (process.stderr, sys.stderr.buffer))
    pumps = [_Pump(source, target, secrets or ()) for source, target in streams if source is not None]
    for pump in pumps:
        pump.start()
    code = signals.wait(started)
    for pump in pumps:
        pump.finish()
    return 128 - code if code < 0 else code


def end_on_signals() -> None:
    """Make the signals that ask this process to end raise SystemExit, so that what it holds is given back on the way out."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _end)


def _end(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _start_errors(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise CommandError(NOT_FOUND, f"{name}: command not found") from None
    except OSError as error:
        raise CommandError(NOT_EXECUTABLE, f"{name}: cannot be executed: {error.strerror}") from None


class _Pump(threading.Thread):
    """Copies one of the child's output streams to ours, masked."""

    def __init__(self, source: IO[bytes], target: BinaryIO, secrets: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self._source, self._target = source, target
        self._mask = Mask([secret.encode() for secret in secrets])
        self._reads = 0
        self._writing = False

    def run(self) -> None:
        """Copy until the child's end is closed, or ours is."""
        try:
            while chunk := os.read(self._source.fileno(), _CHUNK):
                self._reads += 1
                self._write(self._mask.feed(chunk))
            self._write(self._mask.end())
        except BrokenPipeError:
            # The reader of our output is gone. The child learns it in the usual way: its own pipe closes.
            self._source.close()

    def finish(self) -> None:
        """Wait for the rest once the child has ended; the reader of our output may be slow."""
        while self.is_alive():
            before = self._reads
            self.join(_QUIET)
            if self._reads == before and not self._writing:
                return

    def _write(self, text: bytes) -> None:
        self._writing = True
        self._target.write(text)
        self._target.flush()
        self._writing = False


class Signals:
    """Passes the signals that this process gets on to a child, except those that the terminal sends to both.

    They wake `wait` through a pipe: a signal just before a blocking call would otherwise be noticed only after it.
    """

    def __init__(self) -> None:
        self._is_in_foreground = _is_in_foreground()
        self._received: deque[int] = deque()
        self._wake_write, self._wake_read = socket.socketpair()
        self._wake_write.setblocking(False)  # noqa: FBT003  its only parameter

    def __enter__(self) -> Self:
        handled = [getattr(signal, name) for name in (*_SIGNALS, "SIGCHLD") if hasattr(signal, name)]
        self._previous = {
            number: signal.signal(number, lambda number, _: self._received.append(number)) for number in handled
        }
        self._previous_fd = signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._previous_fd)
        for number, old in self._previous.items():
            signal.signal(number, old)
        self._wake_write.close()
        self._wake_read.close()

    def wait(self, started: Started) -> int:
        """Wait until the child ends, and return its code."""
        while (code := started.process.poll()) is None:
            while self._received:
                number = self._received.popleft()
                if number == getattr(signal, "SIGCHLD", None):
                    continue
                if started.group is not None:  # a session of its own: it gets nothing from the terminal
                    with contextlib.suppress(ProcessLookupError):  # it has just ended
                        os.killpg(started.group, number)
                elif not (self._is_in_foreground and signal.Signals(number).name in _FROM_TERMINAL):
                    started.process.send_signal(number)
            self._wake_read.recv(4096)
        return code


def _is_in_foreground() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
