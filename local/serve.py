"""`serve`: starts the processes of one machine, replaces one that dies, and ends them together."""

from __future__ import annotations

import contextlib
import multiprocessing
import secrets
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from local import worker
from local.errors import PartDidNotStart
from local.machine import Machine, Urls
from local.practice import policy as practice
from local.worker import Job

START_SECONDS = 30.0
STOP_SECONDS = 8.0
_SPAWN = multiprocessing.get_context("spawn")
_PARTS = ("broker", "edge", "provider", "issuer")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says. directory: None for one that is thrown away. port: 0 for any free ones."""

    directory: Path | None
    port: int
    policy: Path | None
    workers: int
    practice_ttl: int | None
    practice: bool


@dataclass(frozen=True, slots=True)
class Running:
    """What is running, for whoever wants to use it. request_token: opens the practice issuer's runner endpoint."""

    urls: Urls
    admin: dict[str, str]
    directory: Path
    request_token: str


def serve(settings: Settings, announce: Callable[[Running], None]) -> None:
    """Run until SIGTERM or SIGINT. announce: called once all parts answer.

    Raises InvalidPolicyError, Unavailable (a file, or a part that did not start) or OSError (a port is taken).
    """
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda caught, _frame: stop.append(caught))
    with contextlib.ExitStack() as stack:
        directory = settings.directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keybroker-")))
        sockets = dict(zip(_PARTS if settings.practice else _PARTS[:2], _listen(settings, stack), strict=True))
        addresses = {name: f"http://127.0.0.1:{one.getsockname()[1]}" for name, one in sockets.items()}
        urls = Urls(addresses["broker"], addresses["edge"], addresses.get("provider"), addresses.get("issuer"))
        values = practice.made_up_values() if settings.practice else {}
        here = Machine(directory, urls, settings.practice_ttl)
        here.prepare(settings.policy, values)
        family = stack.enter_context(_Family.of(settings, directory, urls, sockets, values))
        announce(Running(urls, here.callers.admin(), directory, family.request_token))
        upkeep = here.upkeep()
        while not stop:
            family.watch(seconds=0.5)
            upkeep.run(int(time.time()))


class _Family:
    """The child processes, each with what starts it anew."""

    def __init__(self, lifeline: Connection) -> None:
        self.request_token = secrets.token_urlsafe(16)
        self._lifeline = lifeline
        self._members: dict[BaseProcess, Callable[[], BaseProcess]] = {}

    @classmethod
    @contextlib.contextmanager
    def of(
        cls, settings: Settings, directory: Path, urls: Urls, sockets: dict[str, socket.socket], values: dict[str, str]
    ) -> Iterator[_Family]:
        """Start everybody, and stop everybody at the end."""
        theirs, ours = _SPAWN.Pipe(duplex=False)
        family = cls(ours)

        def start(target: Callable[..., None], *extra: object) -> tuple[BaseProcess, Connection]:
            ready, tell = _SPAWN.Pipe(duplex=False)
            job = Job(directory, urls, settings.practice_ttl, sockets, theirs, tell, settings.workers)
            process = _SPAWN.Process(target=target, args=(job, *extra), daemon=True)
            process.start()
            tell.close()
            return process, ready

        try:
            starts: list[Callable[[], tuple[BaseProcess, Connection]]] = [lambda: start(worker.work)] * settings.workers
            if settings.practice:
                starts.append(lambda: start(worker.practise, values, family.request_token))
            family.start(starts)
            yield family
        finally:
            family.stop()
            ours.close()
            theirs.close()

    def start(self, starts: list[Callable[[], tuple[BaseProcess, Connection]]]) -> None:
        """Start processes side by side; raises Unavailable unless all of them answer in time."""
        started = [(*one(), one) for one in starts]
        for process, _, again in started:
            self._members[process] = lambda again=again: self._again(again)  # type: ignore[misc]  # bound now
        for _, ready, _ in started:
            _await(ready)

    def _again(self, again: Callable[[], tuple[BaseProcess, Connection]]) -> BaseProcess:
        process, ready = again()
        _await(ready)
        return process

    def watch(self, seconds: float) -> None:
        """Wait a while, and start anew whoever died meanwhile."""
        by_sentinel = {process.sentinel: process for process in self._members}
        for sentinel in wait(list(by_sentinel), timeout=seconds):
            dead = by_sentinel[sentinel]  # type: ignore[index]  # sentinels are what was waited for
            again = self._members.pop(dead)
            self._members[again()] = again

    def stop(self) -> None:
        """End everybody, by force after STOP_SECONDS."""
        for process in self._members:
            process.terminate()
        ends = time.monotonic() + STOP_SECONDS
        for process in self._members:
            process.join(max(0.0, ends - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


def _await(ready: Connection) -> None:
    with ready:
        try:
            if ready.poll(START_SECONDS):
                ready.recv()
                return
        except EOFError:
            pass  # it died before it answered
    raise PartDidNotStart


def _listen(settings: Settings, stack: contextlib.ExitStack) -> list[socket.socket]:
    """Bind the ports in this process, so that they are known, and ours, before anybody starts."""
    sockets = []
    for offset in range(4 if settings.practice else 2):
        one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = settings.port + offset if settings.port else 0
        try:
            one.bind(("127.0.0.1", port))
            one.listen(worker.BACKLOG)
        except OSError as error:
            raise OSError(f"port {port} is taken or not allowed ({error.strerror})") from error
        one.setblocking(False)  # noqa: FBT003  the socket module's own signature
        sockets.append(one)
    return sockets
