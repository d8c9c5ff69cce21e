"""The processes of one machine: workers that serve broker and edge, and one that serves the practice parts."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from multiprocessing.connection import Connection
from pathlib import Path

from aiohttp import web
from chalice.app import Chalice

import app
import edge
from chalicelib.admin import routes as admin_routes
from chalicelib.edge import preview
from chalicelib.edge.door import EdgeDoor, Request
from chalicelib.edge.running import RunningState
from chalicelib.edge.state import Counted, Wanted
from chalicelib.errors import Unavailable
from chalicelib.http import public_routes
from chalicelib.providers.prices import NO_PRICES, Prices
from local import addresses, descriptors, kms_key, log
from local.accept_faults import AcceptFaults
from local.addresses import Listen
from local.kms_key import UnwrappedKeys
from local.machine import Machine
from local.measuring import Measuring
from local.mount import mount
from local.once import Once
from local.practice.federation import parties
from local.practice.issuer import make_issuer
from local.practice.provider import make_provider
from local.simulator.answer_tally import AnswerTally
from local.simulator.api_gateway import make_gateway
from local.simulator.cloudfront import Beyond, Options, make_distribution, make_runner
from local.simulator.refusal_notes import RefusalNotes
from local.simulator.response_tally import ResponseTally
from local.simulator.running_calls import RunningCalls
from local.simulator.settlements import Settlements
from local.simulator.trusted_proxies import TrustedProxies
from local.simulator.unsent import Unsent
from local.sqlite.edge_state import SqliteEdgeState
from local.sqlite.refused_calls import SqliteRefusedCalls
from local.sqlite.response_times import SqliteResponseTimes
from local.tls import Pair, tls_listener
from local.urls import Urls

GRACE = 3.0
"""Seconds that running calls have to finish when a process stops."""
BODY_LIMITS = {
    (route.method, route.path): route.body_limit
    for routes in (public_routes.ROUTES, admin_routes.ROUTES)
    for route in routes
}
"""By method and route, bytes of a request's body at most."""
_LOOPBACK = "127.0.0.1"
_LOG = logging.getLogger("keybroker")
_App = Callable[[], Chalice]


@dataclass(frozen=True, slots=True)
class Job:
    """What every process is started with.

    directory: the state directory
    urls: of the parts
    practice_ttl: seconds that tokens live; None: as the grants say
    sockets: the listening sockets, by part
    state: the device and inode of the state file that the parent prepared
    workers, number: how many processes share the sockets; which of them this is
    provider_timeout: seconds that a provider may be silent; None: as long as it likes
    drain: seconds that running calls have to finish when a process stops
    log_level: from which on our lines are logged
    trusted_proxies, trusted_hops: whose X-Forwarded headers are believed; how many stand one behind another, None: any number
    tls: what every door serves but one at a UNIX socket; None: plain HTTP
    data_keys: what the parent had of KMS, so that a process that takes another's place needs no KMS
    prices: what models cost, for grants that limit money
    numbers: the directory in which workers add up what is shown at `/metrics`; None: nothing is
    """

    directory: Path
    urls: Urls
    practice_ttl: int | None
    sockets: Mapping[str, socket.socket]
    state: tuple[int, int]
    workers: int = 1
    provider_timeout: int | None = 120
    drain: float = GRACE
    log_level: str = "info"
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    trusted_hops: int | None = None
    tls: Pair | None = None
    data_keys: UnwrappedKeys = field(default_factory=dict, repr=False)
    prices: Prices = NO_PRICES
    numbers: Path | None = None
    number: int = 1


def serve(job: Job, lifeline: Connection, ready: Connection) -> None:
    """Serve the broker and the edge until stopped.

    lifeline: closes when the parent dies. ready: is told once it responds, and brings new certificates.
    """
    end_with_parent(lifeline)
    log.to_stderr(job.log_level)
    kms_key.know(job.data_keys)
    machine = Machine(job.directory, job.urls, job.practice_ttl, job.state)
    asyncio.run(run_until_stopped(ready, functools.partial(_serve_doors, machine, job, ready)))


def serve_practice_parts(
    job: Job, lifeline: Connection, ready: Connection, values: Mapping[str, str], request_token: str
) -> None:
    """Serve the practice provider and the practice issuer until stopped. lifeline, ready: see `serve`."""
    end_with_parent(lifeline)
    log.to_stderr()
    asyncio.run(run_until_stopped(ready, functools.partial(_serve_practice, job, values, request_token)))


async def _serve_doors(machine: Machine, job: Job, parent: Connection, stack: AsyncExitStack) -> None:
    measuring = Measuring(job.numbers, job.number)
    notes = RefusalNotes(also=measuring.refused)
    share, unsent, running = descriptors.share(), Unsent(), RunningCalls(ended=notes.ended)
    _run_beside(stack, measuring.keep())
    answers, settlements, responses = AnswerTally(also=measuring.answered), Settlements(), ResponseTally()
    proxies, running_state = TrustedProxies(job.trusted_proxies, job.trusted_hops), Once(machine.running_state)
    public_ports, admin_ports, edge_ports = (
        Once(machine.public_ports),
        Once(machine.admin_ports),
        Once(lambda: machine.edge_ports(job.prices)._replace(admitted=measuring.admitted(unsent.admitted))),
    )
    _open(public_ports, admin_ports, edge_ports)
    public = functools.partial(app.public_app, public_ports, measuring.seen)
    admin = functools.partial(app.admin_app, admin_ports, measuring.seen)
    doors = _gateways(functools.partial(_gateway, machine, job, proxies, measuring), job, share.broker, public, admin)
    # SECURITY: to the broker of this process: where its public URL leads is others' affair (test_the_edge_reaches_its_own_broker).
    inside = stack.enter_context(contextlib.closing(addresses.bind("broker", Listen(_LOOPBACK), share.broker)))
    distribution = make_distribution(
        EdgeDoor(edge_ports, _LOG.info, notes.refused),
        broker=f"http://{_LOOPBACK}:{inside.getsockname()[1]}",
        connections=share.edge,
        provider_below=share.provider_below,
        unsent=unsent,
        running=running,
        answers=answers,
        settlements=settlements,
        url=job.urls.edge,
        read_timeout=job.provider_timeout,
        **_options(job, edge_ports, running_state, proxies, (measuring, notes, responses)),
    )
    _run_beside(stack, running.watch(running_state), answers.keep(Once(machine.answer_usage)))
    refused, times = _seen(machine)
    _run_beside(stack, notes.keep(refused), responses.keep(times), settlements.keep())
    stack.push_async_callback(distribution.close)
    doors["edge"] = make_runner(distribution, grace=job.drain)
    listener = tls_listener(job.tls, parent)
    for name, runner in doors.items():
        await mount(stack, runner, job.sockets[name], 1 if job.workers > 1 else share.at_once, listener)
    await web.SockSite(doors["broker"], inside).start()


def _run_beside(stack: AsyncExitStack, *work: Coroutine[None, None, None]) -> None:
    """Run these until the stack ends, which ends the last one first."""
    for one in work:
        stack.push_async_callback(cancel, asyncio.create_task(one))


def _seen(machine: Machine) -> tuple[Once[SqliteRefusedCalls], Once[SqliteResponseTimes]]:
    # No commit of these waits for the disk, which calls would have to wait for.
    state = machine.state_file
    return Once(lambda: SqliteRefusedCalls(state().again())), Once(lambda: SqliteResponseTimes(state().again()))


def _open(*ports: Callable[[], object]) -> None:
    for one in ports:
        try:
            one()
        except Unavailable as fault:
            _LOG.warning("a worker starts without its state, and answers 503: %s (%s)", fault.reason, fault.hint)


def _options(
    job: Job,
    ports: Callable[[], edge.Ports],
    state: Callable[[], RunningState],
    proxies: TrustedProxies,
    told: tuple[Measuring, RefusalNotes, ResponseTally],
) -> Options:
    ours: Options = {"proxies": proxies, "measured": told[0].measured, "notes": told[1], "responses": told[2]}
    ours["read_and_count_all"] = functools.partial(_read_and_count_all, ports)
    return ours if job.urls.provider else {**ours, **beyond_cloudfront(ports, state)}


def _read_and_count_all(ports: Callable[[], edge.Ports], wanted: Sequence[Wanted]) -> Sequence[Counted]:
    state = ports().edge.state
    if not isinstance(state, SqliteEdgeState):
        raise TypeError
    return state.read_and_count_all(wanted)


def _gateways(
    make: Callable[[_App | None, _App | None, int], web.BaseRunner],
    job: Job,
    connections: int,
    public: _App,
    admin: _App,
) -> dict[str, web.BaseRunner]:
    """Return the doors of broker and administration, by name: one, unless administration has an address of its own."""
    if "administration" not in job.sockets:
        return {"broker": make(public, admin, connections)}
    # SECURITY: administration has connections of its own (test_administration_has_an_address_of_its_own).
    mine = max(4, connections // 4)
    return {"administration": make(None, admin, mine), "broker": make(public, None, connections - mine)}


def _gateway(  # noqa: PLR0913, PLR0917  a line of each
    machine: Machine,
    job: Job,
    proxies: TrustedProxies,
    measuring: Measuring,
    public: _App | None,
    admin: _App | None,
    connections: int,
) -> web.ServerRunner:
    gateway = make_gateway(
        public,
        admin,
        machine.callers.authenticate,
        connections=connections,
        body_limits=BODY_LIMITS,
        proxies=proxies,
    )
    measuring.door(gateway.places)
    return web.ServerRunner(gateway, shutdown_timeout=job.drain)


def beyond_cloudfront(ports: Callable[[], edge.Ports], state: Callable[[], RunningState]) -> Beyond:
    """Return what an edge does with real providers that CloudFront does not; with the practice parts it is like that."""
    return {"allow_web_sockets": True, "needs_whole_body": functools.partial(_needs_whole_body, ports, state)}


def _needs_whole_body(ports: Callable[[], edge.Ports], state: Callable[[], RunningState], request: Request) -> bool:
    """See `make_distribution`; without the state no body is kept, and the decision says why."""
    try:
        found = ports()
        return preview.needs_whole_body(request, found.edge, state(), found.clock())
    except Unavailable:
        return False


async def cancel(task: asyncio.Task[None]) -> None:
    """End a task and wait for it."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _serve_practice(job: Job, values: Mapping[str, str], request_token: str, stack: AsyncExitStack) -> None:
    provider = make_provider(values, federated=parties.of(job.urls.broker))
    issuer = make_issuer(str(job.urls.issuer), request_token=request_token)
    for part, name in ((provider, "provider"), (issuer, "issuer")):
        runner = web.AppRunner(part, shutdown_timeout=0.2, handler_cancellation=True, access_log=None)
        await mount(stack, runner, job.sockets[name])


async def run_until_stopped(ready: Connection, serve: Callable[[AsyncExitStack], Awaitable[None]]) -> None:
    """Let `serve` start servers, say that they respond, and close its stack at SIGTERM."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(AcceptFaults())
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)  # what it asks for, the parent does
    async with AsyncExitStack() as stack:
        await serve(stack)
        gc.freeze()
        # Each call makes some hundred objects that are in no cycle: at the default of 700, every other call triggered a collection.
        gc.set_threshold(50_000, 20, 20)
        ready.send("ready")
        await stopped.wait()


def end_with_parent(lifeline: Connection) -> None:
    """End this process at once, streams included, when the parent has died: until then the ports would stay taken."""

    def wait() -> None:
        lifeline.poll(None)
        os._exit(1)  # as `kill -9` would end it, which loses nothing that was acknowledged

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
