"""The processes of one machine: workers that serve broker and edge, and one that serves the practice parts."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from aiohttp import web

import app
import edge
from local.machine import Machine, Urls
from local.practice.issuer import make_issuer
from local.practice.provider import make_provider
from local.simulator.api_gateway import make_gateway
from local.simulator.cloudfront import make_distribution, make_runner

BACKLOG = 1024
"""Connections that may wait to be accepted."""
GRACE = 3.0
"""Seconds that running calls have to finish when a process stops."""


@dataclass(frozen=True, slots=True)
class Job:
    """What every process is started with.

    directory: the state directory
    urls: of the parts
    practice_ttl: seconds that tokens live; None: as the grants say
    sockets: the listening sockets, by part
    lifeline: closes when the parent dies
    ready: gets a message once the process responds
    workers: how many processes share the sockets
    """

    directory: Path
    urls: Urls
    practice_ttl: int | None
    sockets: Mapping[str, socket.socket]
    lifeline: Connection
    ready: Connection
    workers: int = 1


def serve(job: Job) -> None:
    """Serve the broker and the edge until stopped."""
    _log_to_stderr()
    machine = Machine(job.directory, job.urls, job.practice_ttl)
    asyncio.run(_run_until_stopped(job, functools.partial(_serve_doors, machine, job)))


def serve_practice_parts(job: Job, values: Mapping[str, str], request_token: str) -> None:
    """Serve the practice provider and the practice issuer until stopped."""
    _log_to_stderr()
    asyncio.run(_run_until_stopped(job, functools.partial(_serve_practice, job, values, request_token)))


async def _serve_doors(machine: Machine, job: Job, stack: AsyncExitStack) -> None:
    public_ports, admin_ports = machine.public_ports(), machine.admin_ports()
    gateway = make_gateway(
        lambda: app.public_app(lambda: public_ports),
        lambda: app.admin_app(lambda: admin_ports),
        machine.callers.authenticate,
    )
    broker = web.ServerRunner(gateway, shutdown_timeout=GRACE)
    edge_ports = machine.edge_ports()
    distribution = make_distribution(edge.make_handler(lambda: edge_ports), broker=job.urls.broker)
    await mount(stack, broker, job.sockets["broker"], job.workers)
    stack.push_async_callback(distribution.close)
    await mount(stack, make_runner(distribution, grace=GRACE), job.sockets["edge"], job.workers)


async def _serve_practice(job: Job, values: Mapping[str, str], request_token: str, stack: AsyncExitStack) -> None:
    provider = make_provider(values)
    issuer = make_issuer(str(job.urls.issuer), request_token=request_token)
    for part, name in ((provider, "provider"), (issuer, "issuer")):
        runner = web.AppRunner(part, shutdown_timeout=0.2, handler_cancellation=True, access_log=None)
        await mount(stack, runner, job.sockets[name])


async def mount(stack: AsyncExitStack, runner: web.BaseRunner, listening: socket.socket, workers: int = 1) -> None:
    """Serve a part at a listening socket, which this many workers share."""
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    # asyncio's backlog is both how many connections may wait and how many a process accepts at once. Each of several workers
    # accepts one at a time; otherwise one of them accepts all that arrive together while the others are idle
    # (test_workers_share_connections).
    await web.SockSite(runner, listening, backlog=1 if workers > 1 else BACKLOG).start()
    listening.listen(BACKLOG)


async def _run_until_stopped(job: Job, serve: Callable[[AsyncExitStack], Awaitable[None]]) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C reaches the whole process group; the parent decides
    loop.add_reader(job.lifeline.fileno(), stopped.set)
    async with AsyncExitStack() as stack:
        await serve(stack)
        gc.freeze()
        # Each call makes some hundred objects that are in no cycle: at the default of 700, every other call triggered a collection.
        gc.set_threshold(50_000, 20, 20)
        job.ready.send("ready")
        await stopped.wait()
    loop.remove_reader(job.lifeline.fileno())


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("keybroker")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
