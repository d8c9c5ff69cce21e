"""A child process that dies is started again, after pauses that grow, and ends nothing else."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import pytest

from local import processes
from local.errors import PartDidNotStart
from local.processes import Part, Processes
from tests.running import wait_until

_FORK = multiprocessing.get_context("fork")


def _serves(ready: Connection) -> None:
    ready.send("ready")
    signal.pause()


def _dies(_ready: Connection) -> None:
    os._exit(3)


def _takes(line: Connection) -> None:
    line.send("ready")
    while not isinstance(code := line.recv(), int):
        pass
    os._exit(code)


class Script:
    """Starts what it was told to, in turn, and the last of it from then on."""

    def __init__(self, *targets: Callable[[Connection], None] | OSError) -> None:
        self.targets = list(targets)
        self.started: list[float] = []
        self.alive: list[BaseProcess] = []

    def __call__(self) -> tuple[BaseProcess, Connection]:
        self.started.append(time.monotonic())
        target = self.targets.pop(0) if len(self.targets) > 1 else self.targets[0]
        if isinstance(target, OSError):
            raise target
        ready, sender = _FORK.Pipe()
        with sender:
            process = _FORK.Process(target=target, args=(sender,), daemon=True)
            process.start()
        self.alive.append(process)
        return process, ready


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with pauses a hundredth as long."""
    monkeypatch.setattr(processes, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(processes, "LONGEST_PAUSE", 0.08)


def _watch_until(running: Processes, condition: Callable[[], bool]) -> None:
    def look() -> bool:
        running.watch(0.02)
        return condition()

    wait_until(look)


def test_one_that_dies_at_start_again_and_again_waits_longer(caplog: pytest.LogCaptureFixture) -> None:
    """A part that dies at each start is tried at growing pauses, without end, while the other is left alone."""
    steady, broken = Script(_serves), Script(_serves, _dies)
    with Processes([Part("worker 1", steady), Part("worker 2", broken)]).running() as running:
        broken.alive[0].kill()
        _watch_until(running, lambda: len(broken.started) >= 6)
        assert len(steady.started) == 1
        assert steady.alive[0].is_alive()
    pauses = [after - before for before, after in zip(broken.started[1:], broken.started[2:], strict=False)]
    assert all(pause > least for pause, least in zip(pauses, (0.02, 0.04, 0.08, 0.08), strict=False)), pauses
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "worker 2 was ended by SIGKILL; another one starts in 0.01 s"
    assert said[1].startswith("worker 2 ended with exit code 3; another one starts in 0.02 s")


def test_one_that_serves_again_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """A part that responds after its deaths serves, and the log says so."""
    script = Script(_serves, _dies, OSError(errno.EAGAIN, "no more processes"), _serves)
    caplog.set_level(logging.WARNING)
    with Processes([Part("worker 1", script)]).running() as running:
        script.alive[0].kill()
        _watch_until(running, lambda: "worker 1 serves again" in caplog.text)
        assert len(script.started) == 4
        assert "cannot be started: [Errno 11] no more processes" in caplog.text


@pytest.mark.slow
def test_a_steady_one_starts_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause is short again after a process that served long."""
    monkeypatch.setattr(processes, "LONGEST_PAUSE", 600.0)
    monkeypatch.setattr(processes, "STEADY_SECONDS", 0.0)
    script = Script(_serves, _dies)
    with Processes([Part("worker 1", script)]).running() as running:
        script.alive[0].kill()
        _watch_until(running, lambda: len(script.started) > 16)


@pytest.mark.slow  # it waits for a time-out
def test_one_that_hangs_at_its_start_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A successor that never responds is killed after START_SECONDS, and another one tried."""
    script = Script(_serves, lambda _ready: signal.pause(), _serves)
    with Processes([Part("worker 1", script)]).running() as running:
        monkeypatch.setattr(processes, "START_SECONDS", 0.1)
        script.alive[0].kill()
        _watch_until(running, lambda: len(script.started) == 3)
        assert script.alive[1].exitcode == -signal.SIGKILL


def test_the_first_start_fails_with_the_part_and_why() -> None:
    """A part that dies at the very first start ends the start, which names it and its exit code."""
    steady = Script(_serves)
    parts = [Part("worker 1", steady), Part("practice parts", Script(_dies))]
    with pytest.raises(PartDidNotStart) as raised, Processes(parts).running():
        pass
    assert raised.value.hint == "practice parts ended with exit code 3; what it printed says why"
    assert not steady.alive[0].is_alive()


def test_what_is_handed_waits_until_a_part_responds() -> None:
    """A part that has just been started gets what is handed to it once it can take it, and not before."""
    script = Script(_serves, _takes, _serves)
    with Processes([Part("worker 1", script)]).running() as running:
        script.alive[0].kill()
        _watch_until(running, lambda: len(script.started) == 2)
        running.hand(7)
        _watch_until(running, lambda: len(script.started) == 3)
        assert script.alive[1].exitcode == 7


def test_none_is_started_again_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """Parts that a signal to the whole group has ended with their parent are neither replaced nor told of."""
    script = Script(_serves)
    with Processes([Part("worker 1", script)]).running() as running:
        script.alive[0].kill()
        running.watch(5.0, [signal.SIGTERM])
    assert (len(script.started), caplog.text) == (1, "")


def test_a_part_that_is_stuck_keeps_nobody_waiting() -> None:
    """What a part does not take waits for it, the last of it, and the parent watches on."""
    script = Script(_takes, _serves)
    with Processes([Part("worker 1", script)]).running() as running:
        os.kill(script.alive[0].pid or 0, signal.SIGSTOP)
        for _ in range(8):
            running.hand("x" * 131_072)  # two files of the greatest size
            running.watch(0.01)
        running.hand(9)
        assert script.alive[0].is_alive()
        os.kill(script.alive[0].pid or 0, signal.SIGCONT)
        _watch_until(running, lambda: len(script.started) == 2)
        assert script.alive[0].exitcode == 9
