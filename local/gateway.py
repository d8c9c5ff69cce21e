"""A gateway: edge, broker or both of a deployed stage as a server, over the stage's tables. It keeps nothing: there may be many."""

from __future__ import annotations

import contextlib
import functools
import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from chalicelib.aws.revocation_probes import DynamoRevocationProbes
from chalicelib.aws.role_credentials import RoleCredentials
from chalicelib.errors import OperatorNeeded, StateUnavailable, Unavailable
from local import addresses, descriptors, gateway_probe, gateway_worker, log, numbers, price_file, systemd
from local.addresses import Listen
from local.errors import StageUnusable
from local.gateway_settings import Settings
from local.gateway_worker import ANSWERS_END_SECONDS, BROKER_SECONDS, GIVE_BACK_SECONDS, START_SECONDS, Job
from local.mount import BACKLOG
from local.processes import Part, Processes
from local.serve import watch
from local.stage import Stage
from local.tls import Renewal

_SPAWN = multiprocessing.get_context("spawn")
_LABELS = {"edge": "gateway", "broker": "broker", "metrics": "metrics"}
"""What each door is called in an error."""
_LOG = logging.getLogger("keybroker")
_MARGIN = GIVE_BACK_SECONDS + ANSWERS_END_SECONDS + 5.0
"""Seconds that processes have to stop beside those that are given to running calls."""


def check(settings: Settings) -> Iterator[str]:
    """Yield what is found of prices, tables and signing key.

    Raises OperatorNeeded where waiting does not mend it (PricesUnusable, too), Unavailable if AWS does not answer in time.
    """
    of_prices = price_file.told(settings.prices)
    if "edge" in settings.doors:
        yield of_prices
    with RoleCredentials() as credentials, contextlib.closing(_stage(settings, credentials)) as stage:
        if not credentials.wait(START_SECONDS):
            raise StateUnavailable(hint="there are no AWS credentials")
        yield from stage.check()


def _stage(settings: Settings, credentials: RoleCredentials) -> Stage:
    try:
        return settings.stage(credentials)
    except ValueError as fault:  # of a variable that names an endpoint
        raise StageUnusable(hint=str(fault)) from None


def serve(settings: Settings, announce: Callable[[Mapping[str, str]], None]) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP has the certificate read again. announce: called with the doors' URLs once all respond.

    Raises Unavailable (tables that AWS says are not there or not for this role, a process that did not start, a certificate
    that is no use) or OSError (a port is in use).
    """
    log.to_stderr(settings.log_level)
    descriptors.raise_limit()
    descriptors.share()  # here, so that too few are said once
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda caught, _frame: stop.append(caught))
    hang_ups: list[int] = []
    signal.signal(signal.SIGHUP, lambda caught, _frame: hang_ups.append(caught))
    renewal = None if settings.tls is None else Renewal(settings.tls, time.time)
    with contextlib.ExitStack() as stack, _listening(settings) as sockets:
        _check(settings)
        page = sockets.pop("metrics", None)
        counted = numbers.directory(stack, page, os.environ)
        with (
            _processes(Job(settings, sockets, numbers=counted), renewal) as processes,
            contextlib.ExitStack() as beside,
        ):
            scheme = "https" if renewal else "http"
            at = {name: Listen(*one.getsockname()[:2]) for name, one in sockets.items()}
            own = [*numbers.of_server(renewal, processes)]
            if settings.revocation_probe:
                own += _probe(settings, sockets.get("edge"), beside, is_shown=counted is not None)
            if counted:
                beside.enter_context(numbers.shown(counted, page, own, os.environ))
            announce({name: f"{scheme}://{one}" for name, one in at.items()})
            systemd.notify("READY=1", f"STATUS=serving {' and '.join(settings.doors)} over {settings.names.control}")
            watch(processes, renewal, stop, hang_ups)
            systemd.notify("STOPPING=1")
            for one in sockets.values():  # as in `local.serve`: the workers' own are enough until they have drained
                one.close()


def _probe(
    settings: Settings, edge: socket.socket | None, beside: contextlib.ExitStack, *, is_shown: bool
) -> Sequence[numbers.Read]:
    """Measure, in a thread, until the stack ends; return what shows the results. Credentials and connections are its own."""
    credentials = beside.enter_context(RoleCredentials())
    stage = beside.enter_context(contextlib.closing(_stage(settings, credentials)))
    tables, signer = stage.probed()
    beside.enter_context(gateway_probe.probing(settings, edge, tables, signer).running())
    if not is_shown:
        return ()
    found = DynamoRevocationProbes(tables)
    return (numbers.of_probes(found, gateway_probe.where(settings), settings.revocation_probe),)


@contextlib.contextmanager
def _listening(settings: Settings) -> Iterator[dict[str, socket.socket]]:
    """Bind every address, or take what systemd holds open."""
    with contextlib.ExitStack() as stack:
        handed = systemd.Handed.take(os.environ)
        sockets = {
            name: stack.enter_context(
                contextlib.closing(handed.find(listen) or addresses.bind(_LABELS[name], listen, BACKLOG))
            )
            for name, listen in _places(settings).items()
        }
        handed.check_all_found()
        yield sockets


def _places(settings: Settings) -> dict[str, Listen]:
    return {**settings.doors, **({"metrics": settings.metrics} if settings.metrics else {})}


def _check(settings: Settings) -> None:
    """Do not start over tables that AWS says are not there, or not for this role; those that do not answer may do so later."""
    try:
        for found in check(settings):
            _LOG.debug("%s", found)
    except OperatorNeeded:
        raise
    except Unavailable as fault:
        _LOG.warning("not ready: %s (%s)", fault.reason, fault.hint)


@contextlib.contextmanager
def _processes(job: Job, renewal: Renewal | None) -> Iterator[Processes]:
    """Run the child processes, which end at once when this one does, however it ends."""
    lifeline, ours = _SPAWN.Pipe(duplex=False)
    settings = job.settings

    def spawn(number: int) -> tuple[BaseProcess, Connection]:
        ready, sender = _SPAWN.Pipe()
        # One that takes another's place serves what is in force now, whatever is in the files.
        now = replace(job, tls=renewal.pair if renewal else None, number=number)
        with sender:
            process = _SPAWN.Process(target=gateway_worker.serve, args=(now, lifeline, sender), daemon=True)
            process.start()
        return process, ready

    parts = [Part(f"worker {one}", functools.partial(spawn, one)) for one in range(1, settings.workers + 1)]
    both = BROKER_SECONDS if len(settings.doors) > 1 else 0.0  # doors drain one after another
    stop_seconds = settings.drain_delay + settings.drain + both + _MARGIN
    with lifeline, ours, Processes(parts, stop_seconds).running() as processes:
        yield processes
