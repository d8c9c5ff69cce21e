"""`serve`: starts the processes of one machine, restarts one that dies, and stops them together."""

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
    """The options of the command line.

    directory: the state directory; None: a temporary one
    port: the broker's, followed by the other parts'; 0: any free ports
    policy: the policy file; None: the policy in force, or else the practice policy
    workers: processes that serve broker and edge
    practice_ttl: seconds that tokens live; None: as the grants say
    practice: run the practice provider and issuer
    """

    directory: Path | None
    port: int
    policy: Path | None
    workers: int
    practice_ttl: int | None
    practice: bool


@dataclass(frozen=True, slots=True)
class Running:
    """What is running.

    urls: of the parts
    admin: the administrator's AWS credentials: access_key_id, secret_access_key, region
    directory: the state directory
    request_token: opens the practice issuer's runner endpoint
    """

    urls: Urls
    admin: dict[str, str]
    directory: Path
    request_token: str


def serve(settings: Settings, announce: Callable[[Running], None]) -> None:
    """Run until SIGTERM or SIGINT. announce: called once all parts respond.

    Raises InvalidPolicyError, Unavailable (a file, or a part that did not start) or OSError (a port is in use).
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
        machine = Machine(directory, urls, settings.practice_ttl)
        machine.prepare(settings.policy, values)
        processes = stack.enter_context(_Processes.running(settings, directory, urls, sockets, values))
        announce(Running(urls, machine.callers.admin(), directory, processes.request_token))
        upkeep = machine.upkeep()
        while not stop:
            processes.watch(seconds=0.5)
            upkeep.run(int(time.time()))


class _Processes:
    """The child processes, each with the function that starts it again."""

    def __init__(self, lifeline: Connection) -> None:
        self.request_token = secrets.token_urlsafe(16)
        self._lifeline = lifeline
        self._restarts: dict[BaseProcess, Callable[[], BaseProcess]] = {}

    @classmethod
    @contextlib.contextmanager
    def running(
        cls, settings: Settings, directory: Path, urls: Urls, sockets: dict[str, socket.socket], values: dict[str, str]
    ) -> Iterator[_Processes]:
        """Start all processes, and stop them at the end."""
        lifeline, ours = _SPAWN.Pipe(duplex=False)
        processes = cls(ours)

        def start(target: Callable[..., None], *extra: object) -> tuple[BaseProcess, Connection]:
            ready, sender = _SPAWN.Pipe(duplex=False)
            job = Job(directory, urls, settings.practice_ttl, sockets, lifeline, sender, settings.workers)
            process = _SPAWN.Process(target=target, args=(job, *extra), daemon=True)
            process.start()
            sender.close()
            return process, ready

        try:
            starts: list[Callable[[], tuple[BaseProcess, Connection]]] = [
                lambda: start(worker.serve)
            ] * settings.workers
            if settings.practice:
                starts.append(lambda: start(worker.serve_practice_parts, values, processes.request_token))
            processes.start(starts)
            yield processes
        finally:
            processes.stop()
            ours.close()
            lifeline.close()

    def start(self, starts: list[Callable[[], tuple[BaseProcess, Connection]]]) -> None:
        """Start processes in parallel; raises PartDidNotStart unless all of them respond in time."""
        started = [(*one(), one) for one in starts]
        for process, _, again in started:
            self._restarts[process] = lambda again=again: self._restart(again)  # type: ignore[misc]  # bound now
        for _, ready, _ in started:
            _await(ready)

    def _restart(self, again: Callable[[], tuple[BaseProcess, Connection]]) -> BaseProcess:
        process, ready = again()
        _await(ready)
        return process

    def watch(self, seconds: float) -> None:
        """Wait, and restart every process that died meanwhile."""
        by_sentinel = {process.sentinel: process for process in self._restarts}
        for sentinel in wait(list(by_sentinel), timeout=seconds):
            dead = by_sentinel[sentinel]  # type: ignore[index]  # sentinels are what was waited for
            again = self._restarts.pop(dead)
            self._restarts[again()] = again

    def stop(self) -> None:
        """Stop all processes, with SIGKILL after STOP_SECONDS."""
        for process in self._restarts:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._restarts:
            process.join(max(0.0, deadline - time.monotonic()))
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
            pass  # it died before it was ready
    raise PartDidNotStart


def _listen(settings: Settings, stack: contextlib.ExitStack) -> list[socket.socket]:
    """Bind the ports in this process, so that they are known and reserved before the others start."""
    sockets = []
    for offset in range(4 if settings.practice else 2):
        one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = settings.port + offset if settings.port else 0
        try:
            one.bind(("127.0.0.1", port))
            one.listen(worker.BACKLOG)
        except OSError as error:
            raise OSError(f"port {port} is in use or not allowed ({error.strerror})") from error
        one.setblocking(False)  # noqa: FBT003  the socket module's own signature
        sockets.append(one)
    return sockets
