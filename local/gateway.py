"""A gateway: the edge of a deployed stage as a server, over the stage's tables. It keeps nothing, so there may be many."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from chalicelib.aws.config import EdgeConfig
from local import addresses, descriptors, gateway_worker, log
from local.addresses import Listen
from local.configuration import TlsFiles
from local.gateway_worker import GIVE_BACK_SECONDS, Job
from local.mount import BACKLOG
from local.processes import Part, Processes
from local.serve import renewed
from local.tls import Renewal

_SPAWN = multiprocessing.get_context("spawn")
_MARGIN = GIVE_BACK_SECONDS + 5.0
"""Seconds that processes have to stop beside those that are given to running calls."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a gateway is told.

    names: of the stage's tables and URLs
    host, port: where it listens; port 0: any that is free
    trusted_proxies: the addresses whose X-Forwarded headers are believed
    tls: the certificate and the key that it serves; None: plain HTTP
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
    tls: TlsFiles | None = None
    workers: int = 1
    provider_timeout: int | None = None
    keep_alive: int = 75
    drain_delay: int = 5
    drain: int = 100


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP has the certificate read again. announce: called with the URL once all respond.

    Raises Unavailable (a process that did not start, a certificate that is no use) or OSError (the port is in use).
    """
    log.to_stderr()
    descriptors.raise_limit()
    descriptors.share()  # here, so that too few are said once
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda caught, _frame: stop.append(caught))
    renewal, hang_ups = None, list[int]()
    if settings.tls is not None:
        renewal = Renewal(settings.tls, time.time)
        signal.signal(signal.SIGHUP, lambda caught, _frame: hang_ups.append(caught))
    place = Listen(settings.host, settings.port)
    with addresses.bind("gateway", place, BACKLOG) as listening, _processes(settings, listening, renewal) as processes:
        at = Listen(settings.host, listening.getsockname()[1])
        announce(f"{'https' if renewal else 'http'}://{at}")
        while not stop:
            processes.watch(seconds=0.5)
            asked = bool(hang_ups)
            hang_ups.clear()
            if renewal is not None and renewed(renewal, asked=asked):
                processes.send(signal.SIGHUP)


@contextlib.contextmanager
def _processes(settings: Settings, listening: socket.socket, renewal: Renewal | None) -> Iterator[Processes]:
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
        tls_files=settings.tls,
    )

    def spawn() -> tuple[BaseProcess, Connection]:
        ready, sender = _SPAWN.Pipe(duplex=False)
        # One that takes another's place serves what is in force now, whatever is in the files.
        now = replace(job, tls=renewal.pair if renewal else None)
        with sender:
            process = _SPAWN.Process(target=gateway_worker.serve, args=(now, lifeline, sender), daemon=True)
            process.start()
        return process, ready

    parts = [Part(f"worker {number}", spawn) for number in range(1, settings.workers + 1)]
    stop_seconds = settings.drain_delay + settings.drain + _MARGIN
    with lifeline, ours, Processes(parts, stop_seconds).running() as processes:
        yield processes
