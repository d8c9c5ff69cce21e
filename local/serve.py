"""`serve`: starts the processes of one machine, restarts one that dies, and stops them together."""

from __future__ import annotations

import contextlib
import multiprocessing
import secrets
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from local import descriptors, log, worker
from local.machine import Machine, Urls
from local.practice import policy as practice
from local.processes import Part, Processes
from local.simulator.origin_request_event import READ_TIMEOUT
from local.worker import Job

_SPAWN = multiprocessing.get_context("spawn")
_PARTS = ("broker", "edge", "provider", "issuer")


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of the command line.

    directory: the state directory; None: a temporary one
    port: the broker's, followed by the other parts'; 0: any free ports
    policy: the first policy's file; None: the policy in force, or else the practice policy
    workers: processes that serve broker and edge
    practice_ttl: seconds that tokens live; None: as the grants say
    practice: run the practice provider and issuer
    apply: put the policy file in force over another policy
    set_keys: put the keys of the environment in force over others
    keep_records: days that events, replaced policies and ended revocations are kept; None: for good
    provider_timeout: seconds that a provider may be silent; None: 120 with the practice parts, as at CloudFront, else any
    """

    directory: Path | None
    port: int
    policy: Path | None
    workers: int
    practice_ttl: int | None
    practice: bool
    apply: bool = False
    set_keys: bool = False
    keep_records: int | None = None
    provider_timeout: int | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """What is running.

    urls: of the parts
    admin: an administrator's access_key_id and region; for practice also secret_access_key, else the file that has it
    directory: the state directory
    request_token: opens the practice issuer's runner endpoint; None without it
    """

    urls: Urls
    admin: dict[str, str] | None
    directory: Path
    request_token: str | None


def serve(settings: Settings, announce: Callable[[Running], None]) -> None:
    """Run until SIGTERM or SIGINT. announce: called once all parts respond.

    Raises InvalidPolicyError, Unavailable (a file, or a part that did not start) or OSError (a port is in use).
    """
    log.to_stderr()
    descriptors.raise_limit()
    descriptors.share()  # here, so that too few are said once
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
        machine.prepare(settings.policy, values, apply=settings.apply, set_keys=settings.set_keys, alone=True)
        request_token = secrets.token_urlsafe(16)
        job = Job(
            directory,
            urls,
            settings.practice_ttl,
            sockets,
            machine.state_identity(),
            settings.workers,
            settings.provider_timeout or (READ_TIMEOUT if settings.practice else None),
        )
        processes = stack.enter_context(_processes(settings, job, values, request_token))
        announce(Running(urls, machine.callers.admin(), directory, request_token if settings.practice else None))
        stack.enter_context(machine.upkeep(settings.keep_records).running())
        while not stop:
            processes.watch(seconds=0.5)


@contextlib.contextmanager
def _processes(settings: Settings, job: Job, values: dict[str, str], request_token: str) -> Iterator[Processes]:
    """Run the child processes, which end at once when this one does, however it ends."""
    lifeline, ours = _SPAWN.Pipe(duplex=False)

    def spawn(target: Callable[..., None], *extra: object) -> tuple[BaseProcess, Connection]:
        ready, sender = _SPAWN.Pipe(duplex=False)
        with sender:
            process = _SPAWN.Process(target=target, args=(job, lifeline, sender, *extra), daemon=True)
            process.start()
        return process, ready

    parts = [Part(f"worker {number}", lambda: spawn(worker.serve)) for number in range(1, settings.workers + 1)]
    if settings.practice:
        parts.append(Part("practice parts", lambda: spawn(worker.serve_practice_parts, values, request_token)))
    with lifeline, ours, Processes(parts).running() as processes:
        yield processes


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
