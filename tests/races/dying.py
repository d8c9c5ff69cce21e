"""Processes that are killed at a step of what they do: a port's call, a statement, a commit, an answer.

A run that nobody kills says which steps there are, so none is missed and a new one is covered by itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from chalicelib.errors import Refusal
from local.sqlite.state_file import StateFile
from tests.contracts import sqlite_adapters
from tests.contracts.adapters import Adapters
from tests.contracts.verbs import Keys
from tests.races.actor import keys_in
from tests.races.together import SPAWN

PATIENCE = 30
"""Seconds that one process may take."""


class Steps:
    """Names the steps of this process, and kills it at one of them. at: None to name them only."""

    def __init__(self, at: int | None) -> None:
        self.names: list[str] = []
        self._at = at

    def step(self, name: str) -> None:
        """Come to a step."""
        if len(self.names) == self._at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.names.append(name)

    def around(self, name: str, real: Any) -> Any:  # noqa: ANN401  any port, and the same again
        """Return a port whose calls are steps, before and after."""
        return _Stepped(self, name, real)


class _Stepped:
    def __init__(self, steps: Steps, name: str, real: object) -> None:
        self._steps, self._name, self._real = steps, name, real

    def __getattr__(self, method: str) -> Callable[..., object]:
        real: Callable[..., object] = getattr(self._real, method)

        def stepped(*arguments: object, **named: object) -> object:
            self._steps.step(f"before {self._name}.{method}")
            answer = real(*arguments, **named)
            self._steps.step(f"after {self._name}.{method}")
            return answer

        return stepped


class Opens(Protocol):
    """Opens a store for one process, what it does there a step. It can be pickled."""

    def __call__(self, steps: Steps) -> Adapters:
        """Return its adapters."""


@dataclass(frozen=True)
class OverSqlite:
    """A state file, each statement a step."""

    path: Path

    def __call__(self, steps: Steps) -> Adapters:
        """See `Opens`."""
        state = StateFile(self.path)
        state.connection().set_trace_callback(lambda sql: steps.step(f"sql {' '.join(sql.split()[:3])}"))
        return sqlite_adapters.over(state)


class LastAct(Protocol):
    """What a process does before it is killed. It can be pickled."""

    def __call__(self, adapters: Adapters, keys: Keys, steps: Steps) -> str:
        """Do it and return the answer; raises Refusal."""


@dataclass(frozen=True)
class Ended:
    """How a process ended. answer: what came out of it, "" for nothing. names: its steps, if nobody killed it.

    failed: its traceback, if it ended in another way.
    """

    killed: bool
    answer: str
    names: tuple[str, ...]
    failed: str


@dataclass(frozen=True)
class _Order:
    act: LastAct
    opens: Opens
    keys: Path
    at: int | None


class Nursery:
    """Bears processes that do one thing and die. Made by `nursery`."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def run(self, act: LastAct, opens: Opens, keys: Path, at: int | None = None) -> Ended:
        """Do it in a process over a store, killed at a step unless that is None."""
        self._pipe.send(_Order(act, opens, keys, at))
        assert self._pipe.poll(PATIENCE * 2), "a process did not end"
        ended: Ended = self._pipe.recv()
        assert not ended.failed, ended.failed
        return ended


@contextmanager
def nursery() -> Iterator[Nursery]:
    """Start a process that only forks: with everything imported, each of its children takes milliseconds."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_nurse, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Nursery(ours)
    finally:
        with contextlib.suppress(OSError):
            ours.send(None)
        process.join(10)
        process.kill()
        ours.close()


def _nurse(parent: Connection) -> None:
    while (order := parent.recv()) is not None:
        parent.send(_born(order))


def _born(order: _Order) -> Ended:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)
        try:
            _live(order, writing)
        except BaseException:  # noqa: BLE001  the parent is told
            _say(writing, failed=traceback.format_exc())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = [json.loads(line) for line in pipe]
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found: dict[str, Any] = {name: value for one in said for name, value in one.items()}
    failed = "" if status in (0, -signal.SIGKILL) else f"it ended with {status}"
    names = tuple(found.get("names", ()))
    return Ended(status == -signal.SIGKILL, found.get("answer", ""), names, found.get("failed", failed))


def _live(order: _Order, writing: int) -> None:
    steps = Steps(order.at)
    try:
        answer = order.act(order.opens(steps), keys_in(order.keys), steps)
    except Refusal as refusal:
        answer = f"refused: {refusal.reason}"
    steps.step("before the answer")
    _say(writing, answer=answer)
    steps.step("after the answer")
    _say(writing, names=steps.names)


def _say(writing: int, **what: object) -> None:
    os.write(writing, json.dumps(what).encode() + b"\n")
