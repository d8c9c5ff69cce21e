"""The processes of a gateway: each serves the edge over a stage's tables, and holds nothing that another would miss."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from multiprocessing.connection import Connection

import edge
from chalicelib.aws.config import EdgeConfig
from chalicelib.aws.role_credentials import RoleCredentials
from local import descriptors, log
from local.configuration import TlsFiles
from local.mount import mount
from local.simulator.cloudfront import make_distribution, make_runner
from local.simulator.health import Health
from local.simulator.running_calls import RunningCalls
from local.simulator.trusted_proxies import TrustedProxies
from local.simulator.unsent import Unsent
from local.stage import Stage
from local.tls import Pair
from local.worker import beyond_cloudfront, cancel, end_with_parent, run_until_stopped, tls_listener

START_SECONDS = 2.0
"""Seconds that a start waits for credentials; without any, it serves 503 until there are some."""
LOOK_SECONDS = 3.0
"""Seconds that a look at the tables may take, the look-up of their names included."""
GIVE_BACK_SECONDS = 3.0
"""Seconds at the end in which numbers of calls that were not sent are given back; what is not stays counted."""
_LOG = logging.getLogger("keybroker")


@dataclass(frozen=True, slots=True)
class Job:
    """What every process is started with.

    names: of the stage's tables and URLs
    listening: the socket, which all processes share
    trusted_proxies: the addresses whose X-Forwarded headers are believed
    workers: how many they are
    provider_timeout: seconds that a provider may be silent; None: as long as it likes
    keep_alive: seconds that a connection may stay open without a request
    drain_delay: seconds in which calls are still taken once it is to stop, until load balancers have noticed
    drain: seconds after these that running calls have to finish
    tls: what it serves; None: plain HTTP
    tls_files: where a new pair is, after SIGHUP
    """

    names: EdgeConfig
    listening: socket.socket
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    workers: int
    provider_timeout: int | None
    keep_alive: int
    drain_delay: float
    drain: float
    tls: Pair | None = None
    tls_files: TlsFiles | None = None


def serve(job: Job, lifeline: Connection, ready: Connection) -> None:
    """Serve the edge until stopped. lifeline: closes when the parent dies. ready: is told once it responds."""
    end_with_parent(lifeline)
    log.to_stderr()
    with RoleCredentials() as credentials:
        credentials.wait(START_SECONDS)
        stage = Stage(job.names, credentials)
        asyncio.run(run_until_stopped(ready, functools.partial(_serve_edge, job, stage)))
        stage.close()


async def _serve_edge(job: Job, stage: Stage, stack: AsyncExitStack) -> None:
    share, health = descriptors.share(), Health()
    give_backs = _GiveBacks()
    stack.push_async_callback(give_backs.end)
    unsent = Unsent(give_backs.later)
    ports = stage.edge_ports()._replace(admitted=unsent.admitted)
    running, running_state = RunningCalls(clock=ports.clock), stage.running_state()
    distribution = make_distribution(
        edge.make_handler(lambda: ports, log=_LOG.info),
        broker=job.names.issuer,
        connections=share.edge,
        provider_below=share.provider_below,
        unsent=unsent,
        running=running,
        url=job.names.edge_url,
        read_timeout=job.provider_timeout,
        **beyond_cloudfront(lambda: ports, lambda: running_state),
        over_network=True,
        health=health,
        idle_timeout=job.keep_alive,
        proxies=TrustedProxies(job.trusted_proxies),
    )
    stack.push_async_callback(distribution.close)
    # Pushed before the door, so that calls are looked after while they are drained.
    stack.push_async_callback(cancel, asyncio.create_task(running.watch(lambda: running_state)))
    at_once = 1 if job.workers > 1 else share.at_once
    await mount(
        stack, make_runner(distribution, grace=job.drain), job.listening, at_once, tls_listener(job.tls, job.tls_files)
    )
    thread = stack.enter_context(_thread("look"))
    watching = asyncio.create_task(health.watch(functools.partial(_look, stage, thread)))
    stack.push_async_callback(cancel, watching)
    stack.push_async_callback(_drain, health, job.drain_delay)  # pushed last, so that it comes first


async def _look(stage: Stage, thread: ThreadPoolExecutor) -> None:
    async with asyncio.timeout(LOOK_SECONDS):
        await asyncio.get_running_loop().run_in_executor(thread, stage.look)


async def _drain(health: Health, seconds: float) -> None:
    """Be not ready for so long before no call is taken any more: until then load balancers still send some."""
    health.drain()
    _LOG.info("draining: calls are taken for %g s more, then those under way are finished", seconds)
    await asyncio.sleep(seconds)


@contextlib.contextmanager
def _thread(name: str) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(1, thread_name_prefix=name)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _GiveBacks:
    """Gives numbers back in threads of its own: the event loop waits for no table."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="give-back")
        self._running: set[asyncio.Future[None]] = set()

    def later(self, give_back: Callable[[], None]) -> None:
        """Give back soon; called on the event loop."""
        running = asyncio.get_running_loop().run_in_executor(self._threads, give_back)
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def end(self) -> None:
        """Finish, within GIVE_BACK_SECONDS."""
        if self._running:
            await asyncio.wait(self._running, timeout=GIVE_BACK_SECONDS)
        if self._running:
            _LOG.warning(
                "%d calls that were not sent stay counted: the tables did not answer in time", len(self._running)
            )
        self._threads.shutdown(wait=False, cancel_futures=True)
