"""Runs a program in the place of this one: its output masked, its signals and its exit code passed on."""

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

from keybroker.cli.failure import Failure
from keybroker.cli.mask import Mask

NOT_EXECUTABLE = 126
NOT_FOUND = 127
_LAST_WORDS = 1.0
"""Seconds without output after which no more is waited for, once the program has ended: what it left running may hold
its output open for ever."""
_CHUNK = 64 * 1024
_SIGNALS = ("SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH")
_OF_THE_TERMINAL = ("SIGINT", "SIGQUIT", "SIGWINCH")
"""Sent by a terminal to the child as well."""


def run(command: Sequence[str], environ: Mapping[str, str], secrets: Sequence[str]) -> int:
    """Run a program to its end with the secrets masked in what it writes; return its exit code, 128 + n for signal n.

    Raises Failure 127 or 126 if there is no such program, or it cannot be run.
    """
    with _Signals() as signals:
        with _failing(command[0]):
            process = subprocess.Popen(command, env=dict(environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603  what the user said
        streams = ((process.stdout, sys.stdout.buffer), (process.stderr, sys.stderr.buffer))
        pumps = [_Pump(source, target, secrets) for source, target in streams if source is not None]
        for pump in pumps:
            pump.start()
        code = signals.wait(process)
        for pump in pumps:
            pump.finish()
    return 128 - code if code < 0 else code


def become(command: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Replace this process by a program; raises Failure as `run` does."""
    sys.stdout.flush()
    with _failing(command[0]):
        os.execvpe(command[0], list(command), dict(environ))  # noqa: S606  what the user said, without a shell
    raise AssertionError("a program that was replaced goes on")


@contextlib.contextmanager
def _failing(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise Failure(NOT_FOUND, f"{name}: no such program") from None
    except OSError as fault:
        raise Failure(NOT_EXECUTABLE, f"{name}: cannot be run: {fault.strerror}") from None


class _Pump(threading.Thread):
    """Copies one output of the child to ours, masked."""

    def __init__(self, source: IO[bytes], target: BinaryIO, secrets: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self._source, self._target = source, target
        self._mask = Mask([one.encode() for one in secrets])
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
            # Whoever read our output has gone. The child is told in the way that it knows: its own pipe closes.
            self._source.close()

    def finish(self) -> None:
        """Wait for the rest, once the child has ended; whoever reads our output may take any time."""
        while self.is_alive():
            before = self._reads
            self.join(_LAST_WORDS)
            if self._reads == before and not self._writing:
                return

    def _write(self, text: bytes) -> None:
        self._writing = True
        self._target.write(text)
        self._target.flush()
        self._writing = False


class _Signals:
    """Notes the signals that this process gets, and passes them on to a child, but for those that the terminal sent it.

    They wake `wait` by way of a pipe: one that came just before a blocking call would be noticed after it only.
    """

    def __init__(self) -> None:
        self._is_in_foreground = _is_in_foreground()
        self._noted: deque[int] = deque()
        self._wakes, self._woken = socket.socketpair()
        self._wakes.setblocking(False)  # noqa: FBT003  its only parameter

    def __enter__(self) -> Self:
        known = [getattr(signal, name) for name in (*_SIGNALS, "SIGCHLD") if hasattr(signal, name)]
        self._before = {number: signal.signal(number, lambda number, _: self._noted.append(number)) for number in known}
        self._fd_before = signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._fd_before)
        for number, old in self._before.items():
            signal.signal(number, old)
        self._wakes.close()
        self._woken.close()

    def wait(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the child's end, and return its code."""
        while (code := process.poll()) is None:
            while self._noted:
                number = self._noted.popleft()
                if self._is_for_the_child(signal.Signals(number).name):
                    process.send_signal(number)
            self._woken.recv(4096)
        return code

    def _is_for_the_child(self, name: str) -> bool:
        return name != "SIGCHLD" and not (self._is_in_foreground and name in _OF_THE_TERMINAL)


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
