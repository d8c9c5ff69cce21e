"""The processes of a gateway: each serves its doors over a stage's tables, and holds nothing that another would miss."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from aiohttp import web

import app
from chalicelib.aws import refused_calls
from chalicelib.aws.answer_usage import ADD_SECONDS
from chalicelib.aws.role_credentials import RoleCredentials
from chalicelib.aws.round_trip import ROUND_TRIP_SECONDS
from chalicelib.edge.door import EdgeDoor
from chalicelib.errors import Unavailable
from local import descriptors, log, price_file
from local.gateway_settings import Settings
from local.measuring import Measuring
from local.mount import mount
from local.once import Once
from local.simulator.answer_tally import AnswerTally
from local.simulator.api_gateway import make_gateway
from local.simulator.cloudfront import make_distribution, make_runner
from local.simulator.health import Health
from local.simulator.refusal_notes import RefusalNotes
from local.simulator.response_tally import ResponseTally
from local.simulator.running_calls import RunningCalls
from local.simulator.settlements import Settlements
from local.simulator.sigv4 import Caller, InvalidSignatureError, SignedRequest
from local.simulator.trusted_proxies import TrustedProxies
from local.simulator.unsent import Unsent
from local.stage import Stage
from local.tls import Pair, tls_listener
from local.worker import BODY_LIMITS, beyond_cloudfront, cancel, end_with_parent, run_until_stopped

START_SECONDS = 2.0
"""Seconds that a start waits for credentials; without any, it serves 503 until there are some."""
LOOK_SECONDS = 3.0
"""Seconds that a look at the tables may take, the look-up of their names included."""
BROKER_SECONDS = 30.0
"""Seconds that a request at the broker may have at the end; none takes longer."""
GIVE_BACK_SECONDS = 3.0
"""Seconds at the end in which numbers of calls that were not sent are given back; what is not stays counted."""
ANSWERS_SECONDS = 5.0
"""Seconds from one writing of what answers took to the next, each of which costs an update for each row: what a kill loses."""
REFUSALS_SECONDS = 5.0
"""Seconds from one writing of refused calls to the next: `refused_calls.AT_ONCE` of them at most, an update for each."""
RESPONSES_SECONDS = 10.0
"""Seconds from one writing of how long answers took to the next, each of which costs two updates."""
ANSWERS_END_SECONDS = 2 * (ADD_SECONDS + 2 * ROUND_TRIP_SECONDS)
"""Seconds that the last writing may take at the end, and one that was under way."""
_LOG = logging.getLogger("keybroker")


@dataclass(frozen=True, slots=True)
class Job:
    """What every process is started with.

    settings: what the gateway is told
    sockets: the listening sockets by door, which all processes share
    tls: what it serves; None: plain HTTP
    numbers: the directory in which workers add up what is shown at `/metrics`; None: nothing is
    number: the worker's
    """

    settings: Settings
    sockets: Mapping[str, socket.socket]
    tls: Pair | None = None
    numbers: Path | None = None
    number: int = 1


def serve(job: Job, lifeline: Connection, ready: Connection) -> None:
    """Serve the doors until stopped.

    lifeline: closes when the parent dies. ready: is told once they respond, and brings new certificates.
    """
    end_with_parent(lifeline)
    log.to_stderr(job.settings.log_level)
    with RoleCredentials() as credentials:
        credentials.wait(START_SECONDS)
        stage = job.settings.stage(credentials)
        asyncio.run(run_until_stopped(ready, functools.partial(_serve_doors, job, stage, ready)))
        stage.close()


async def _serve_doors(job: Job, stage: Stage, parent: Connection, stack: AsyncExitStack) -> None:
    health, share = Health(), descriptors.share()
    at_once = 1 if job.settings.workers > 1 else share.at_once
    listener = tls_listener(job.tls, parent)
    measuring = Measuring(job.numbers, job.number)
    stack.push_async_callback(cancel, asyncio.create_task(measuring.keep()))
    doors: dict[str, web.BaseRunner] = {}
    if "broker" in job.sockets:
        doors["broker"] = _broker(job, stage, health, share, measuring)
    if "edge" in job.sockets:
        doors["edge"] = _edge(job, stage, stack, health, share, measuring)
    for name, runner in doors.items():
        await mount(stack, runner, job.sockets[name], at_once, listener)
    thread = stack.enter_context(_thread("look"))
    watching = asyncio.create_task(health.watch(functools.partial(_look, stage, thread)))
    stack.push_async_callback(cancel, watching)
    stack.push_async_callback(_drain, health, job.settings.drain_delay)  # pushed last, so that it comes first


def _broker(job: Job, stage: Stage, health: Health, share: descriptors.Share, measuring: Measuring) -> web.BaseRunner:
    """Return the broker's door, without the routes of administration."""
    ports = stage.public_ports()
    with contextlib.suppress(Unavailable):
        ports.broker.signer.kid()  # connects, so that the first caller need not wait
    gateway = make_gateway(
        lambda: app.public_app(lambda: ports, measuring.seen),
        None,
        _signed_elsewhere,
        connections=share.broker,
        body_limits=BODY_LIMITS,
        proxies=TrustedProxies(job.settings.trusted_proxies, job.settings.trusted_hops),
        health=health,
    )
    measuring.door(gateway.places)
    return web.ServerRunner(gateway, shutdown_timeout=min(BROKER_SECONDS, job.settings.drain))


def _signed_elsewhere(_request: SignedRequest, _now: int) -> Caller:
    # SECURITY: who signed could be said by AWS alone, which has the callers' secret keys; here nobody is believed
    # (test_a_signed_request_is_refused_here).
    raise InvalidSignatureError("AWS signatures are verified at the stage's own broker, not here")


def _edge(  # noqa: PLR0913, PLR0917  its parts
    job: Job, stage: Stage, stack: AsyncExitStack, health: Health, share: descriptors.Share, measuring: Measuring
) -> web.BaseRunner:
    settings, give_backs = job.settings, _GiveBacks()
    stack.push_async_callback(give_backs.end)
    unsent = Unsent(give_backs.later)
    ports = stage.edge_ports(price_file.read(settings.prices))
    ports = ports._replace(admitted=measuring.admitted(unsent.admitted))
    notes = RefusalNotes(measuring.refused, ports.clock, REFUSALS_SECONDS, refused_calls.AT_ONCE)
    running, running_state = RunningCalls(clock=ports.clock, ended=notes.ended), stage.running_state()
    answers, settlements = AnswerTally(ports.clock, ANSWERS_SECONDS, measuring.answered), Settlements(give_backs.later)
    responses = ResponseTally(ports.clock, RESPONSES_SECONDS)
    distribution = make_distribution(
        EdgeDoor(lambda: ports, _LOG.info, notes.refused),
        broker=settings.names.issuer,
        connections=share.edge,
        provider_below=share.provider_below,
        unsent=unsent,
        running=running,
        answers=answers,
        settlements=settlements,
        url=settings.names.edge_url,
        read_timeout=settings.provider_timeout,
        **beyond_cloudfront(lambda: ports, lambda: running_state),
        over_network=True,
        health=health,
        idle_timeout=settings.keep_alive,
        proxies=TrustedProxies(settings.trusted_proxies, settings.trusted_hops),
        measured=measuring.measured,
        notes=notes,
        responses=responses,
    )
    # Before the distribution, so that the last answers are settled and written once they have ended.
    kept = notes.keep(Once(stage.refused_calls)), responses.keep(Once(stage.response_times))
    for work in (*kept, settlements.keep(), answers.keep(Once(stage.answer_usage))):
        stack.push_async_callback(cancel, asyncio.create_task(work))
    stack.push_async_callback(distribution.close)
    # Pushed before the door, so that calls are looked after while they are drained.
    stack.push_async_callback(cancel, asyncio.create_task(running.watch(lambda: running_state)))
    return make_runner(distribution, grace=settings.drain)


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
    """Gives numbers back, and settles, in threads of its own: the event loop waits for no table."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="give-back")
        self._running: set[asyncio.Future[object]] = set()

    def later(self, give_back: Callable[[], object]) -> None:
        """Give back, or settle, soon; called on the event loop."""
        running = asyncio.get_running_loop().run_in_executor(self._threads, give_back)
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def end(self) -> None:
        """Finish, within GIVE_BACK_SECONDS."""
        if self._running:
            await asyncio.wait(self._running, timeout=GIVE_BACK_SECONDS)
        if self._running:
            _LOG.warning(
                "%d calls that were not sent, or have ended, stay counted as they were: the tables did not answer in time",
                len(self._running),
            )
        self._threads.shutdown(wait=False, cancel_futures=True)
