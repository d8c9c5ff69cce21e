"""A gateway: the edge of a deployed stage as a server, over the stage's tables. It keeps nothing, so there may be many."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from chalicelib.aws.config import EdgeConfig
from local import addresses, descriptors, gateway_worker, log
from local.addresses import Listen
from local.gateway_worker import GIVE_BACK_SECONDS, Job
from local.processes import Part, Processes
from local.worker import BACKLOG

_SPAWN = multiprocessing.get_context("spawn")
_MARGIN = GIVE_BACK_SECONDS + 5.0
"""Seconds that processes have to stop beside those that are given to running calls."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a gateway is told.

    names: of the stage's tables and URLs
    host, port: where it listens; port 0: any that is free
    trusted_proxies: the addresses whose X-Forwarded headers are believed
    workers: processes
    provider_timeout: seconds that a provider may be silent; None: as long as it likes
    keep_alive: seconds that a connection may stay open without a request
    drain_delay: seconds after SIGTERM in which calls are still taken, for load balancers to notice `/readyz`
    drain: seconds after these that running calls have to finish
    """

    names: EdgeConfig
    host: str
    port: int
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    workers: int = 1
    provider_timeout: int | None = None
    keep_alive: int = 75
    drain_delay: int = 5
    drain: int = 100


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT. announce: called with the address once all processes respond.

    Raises Unavailable (a process that did not start) or OSError (the port is in use).
    """
    log.to_stderr()
    descriptors.raise_limit()
    descriptors.share()  # here, so that too few are said once
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda caught, _frame: stop.append(caught))
    place = Listen(settings.host, settings.port)
    with addresses.bind("gateway", place, BACKLOG) as listening, _processes(settings, listening) as processes:
        host, port = listening.getsockname()[:2]
        announce(f"{host}:{port}")
        while not stop:
            processes.watch(seconds=0.5)


@contextlib.contextmanager
def _processes(settings: Settings, listening: socket.socket) -> Iterator[Processes]:
    """Run the child processes, which end at once when this one does, however it ends."""
    lifeline, ours = _SPAWN.Pipe(duplex=False)
    job = Job(
        settings.names,
        listening,
        settings.trusted_proxies,
        settings.workers,
        settings.provider_timeout,
        settings.keep_alive,
        settings.drain_delay,
        settings.drain,
    )

    def spawn() -> tuple[BaseProcess, Connection]:
        ready, sender = _SPAWN.Pipe(duplex=False)
        with sender:
            process = _SPAWN.Process(target=gateway_worker.serve, args=(job, lifeline, sender), daemon=True)
            process.start()
        return process, ready

    parts = [Part(f"worker {number}", spawn) for number in range(1, settings.workers + 1)]
    stop_seconds = settings.drain_delay + settings.drain + _MARGIN
    with lifeline, ours, Processes(parts, stop_seconds).running() as processes:
        yield processes
