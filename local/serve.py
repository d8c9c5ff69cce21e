"""`serve`: starts the processes of one machine, restarts one that dies, and stops them together."""

from __future__ import annotations

import contextlib
import functools
import logging
import multiprocessing
import os
import secrets
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from chalicelib.errors import Unavailable
from chalicelib.providers.prices import Prices
from local import addresses, descriptors, kms_key, log, mount, numbers, price_file, systemd, tls, worker
from local.configuration import Configuration, Door
from local.errors import PartDidNotStart
from local.machine import Machine
from local.minting import Minting
from local.once import Once
from local.practice import policy as practice
from local.processes import Part, Processes
from local.revocation_probe import Edge
from local.rotating import Rotating
from local.simulator.origin_request_event import READ_TIMEOUT
from local.tls import Renewal
from local.urls import Urls
from local.worker import Job

_SPAWN = multiprocessing.get_context("spawn")
_MARGIN = 5.0
"""Seconds that processes have to stop beside the time that running calls have."""
_LOG = logging.getLogger("keybroker")


@dataclass(frozen=True, slots=True)
class Running:
    """What is running.

    urls: of the parts
    admin: an administrator's access_key_id and region; for practice also secret_access_key, else the file that has it
    directory: the state directory
    request_token: opens the practice issuer's runner endpoint; None without it
    keys_not_set: the names of the policy's keys that have no value yet
    is_temporary: whether the state directory is deleted at the end
    metrics: the URL of the numbers; None: they are not shown
    administration: where administrators reach it: its URL, or `unix:PATH`; None: at the broker
    """

    urls: Urls
    admin: dict[str, str] | None
    directory: Path
    request_token: str | None
    keys_not_set: tuple[str, ...] = ()
    is_temporary: bool = False
    metrics: str | None = None
    administration: str | None = None


def serve(configuration: Configuration, announce: Callable[[Running], None]) -> None:
    """Run until SIGTERM or SIGINT. announce: called once all parts respond.

    Raises InvalidPolicyError, Unavailable (a file, or a part that did not start) or OSError (a port is in use).
    """
    log.to_stderr(configuration.log_level)
    descriptors.raise_limit()
    descriptors.share()  # here, so that too few are said once
    stop, hang_ups = _signals(configuration)
    try:
        _serve(configuration, announce, stop, hang_ups)
    except PartDidNotStart:
        if not stop:  # otherwise it had the signal, too
            raise


def _serve(
    configuration: Configuration, announce: Callable[[Running], None], stop: list[int], hang_ups: list[int]
) -> None:
    with contextlib.ExitStack() as stack:
        renewal = None if configuration.tls is None else Renewal(configuration.tls, time.time)
        directory = configuration.state or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keybroker-")))
        sockets = _listen(configuration, stack)
        page = sockets.pop("metrics", None)
        counted = numbers.directory(stack, page, os.environ)
        urls = _urls(configuration, sockets)
        prices = price_file.read(configuration.prices)
        values = practice.made_up_values() if configuration.practice else {}
        machine = Machine(directory, urls, configuration.practice.ttl if configuration.practice else None)
        machine.prepare(
            configuration.policy, values, apply=configuration.apply, set_keys=configuration.set_keys, alone=True
        )
        request_token = secrets.token_urlsafe(16) if configuration.practice else None
        job = replace(_job(configuration, machine, prices, urls, sockets), numbers=counted)
        processes = stack.enter_context(_processes(configuration, job, renewal, values, request_token))
        announce(_running(configuration, machine, urls, request_token, page))
        upkeep = machine.upkeep(configuration.keep_records)
        stack.enter_context(upkeep.running())
        stack.enter_context(Rotating(machine.admin_ports).running())
        stack.enter_context(Minting(Once(machine.minter)).running())
        if configuration.revocation_probe:
            own = Edge(sockets["edge"], is_tls=configuration.tls is not None)
            stack.enter_context(machine.probing(own, configuration.revocation_probe).running())
        if counted:
            known = numbers.of_machine(machine, configuration.revocation_probe, upkeep, renewal, processes)
            stack.enter_context(numbers.shown(counted, page, known, os.environ))
        systemd.notify("READY=1", f"STATUS=serving {urls.broker} and {urls.edge}")
        stack.callback(systemd.notify, "STOPPING=1")
        watch(processes, renewal, stop, hang_ups)
        # Who comes now is refused, or waits for the next server where systemd holds the socket; a descriptor that is kept
        # open here would have it wait for nothing while calls are drained.
        for one in sockets.values():
            one.close()


def _signals(configuration: Configuration) -> tuple[list[int], list[int]]:
    """Return lists that get a member when the server is to stop, and when it is to read its certificate again."""
    stop: list[int] = []
    hang_ups: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda caught, _frame: stop.append(caught))
    if configuration.practice is None:  # with practice, it is a terminal that was closed
        signal.signal(signal.SIGHUP, lambda caught, _frame: hang_ups.append(caught))
    return stop, hang_ups


def watch(processes: Processes, renewal: Renewal | None, stop: list[int], hang_ups: list[int]) -> None:
    """Restart what dies, and hand on new certificates, until there is something in `stop`."""
    while not stop:
        processes.watch(0.5, stop)
        asked = bool(hang_ups)
        hang_ups.clear()
        if renewal is not None and renewed(renewal, asked=asked):
            # SECURITY: what was read and checked here, not the files, which may be others by now
            # (test_all_serve_what_was_read).
            processes.hand(renewal.pair)


def renewed(renewal: Renewal, *, asked: bool) -> bool:
    """Whether the certificate was read again; what is of no use is logged, and the old one stays. One that ends soon is warned of."""
    is_new = False
    try:
        is_new = renewal.renew(asked=asked)
    except Unavailable as fault:
        _LOG.error("the certificate stays as it was: %s (%s)", fault.reason, fault.hint)
    if is_new:
        _LOG.info("the certificate was read again, and serves until %s", tls.when(renewal.pair.ends))
    if soon := renewal.warning():
        _LOG.warning("certificate: %s", soon)
    return is_new


def _job(
    configuration: Configuration, machine: Machine, prices: Prices, urls: Urls, sockets: Mapping[str, socket.socket]
) -> Job:
    return Job(
        machine.directory,
        urls,
        configuration.practice.ttl if configuration.practice else None,
        sockets,
        machine.state_identity(),
        configuration.workers,
        configuration.provider_timeout or (READ_TIMEOUT if configuration.practice else None),
        drain=configuration.drain_seconds,
        log_level=configuration.log_level,
        trusted_proxies=configuration.trusted_proxies,
        trusted_hops=configuration.trusted_hops,
        data_keys=kms_key.unwrapped(),
        prices=prices,
    )


@contextlib.contextmanager
def _processes(
    configuration: Configuration,
    job: Job,
    renewal: Renewal | None,
    values: dict[str, str],
    request_token: str | None,
) -> Iterator[Processes]:
    """Run the child processes, which end at once when this one does, however it ends."""
    lifeline, ours = _SPAWN.Pipe(duplex=False)

    def spawn(target: Callable[..., None], *extra: object, number: int = 0) -> tuple[BaseProcess, Connection]:
        ready, sender = _SPAWN.Pipe()
        # One that takes another's place serves what is in force now, whatever is in the files.
        now = replace(job, tls=renewal.pair if renewal else None, number=number)
        with sender:
            process = _SPAWN.Process(target=target, args=(now, lifeline, sender, *extra), daemon=True)
            process.start()
        return process, ready

    parts = [
        Part(f"worker {number}", functools.partial(spawn, worker.serve, number=number))
        for number in range(1, configuration.workers + 1)
    ]
    if configuration.practice:
        parts.append(Part("practice parts", lambda: spawn(worker.serve_practice_parts, values, request_token)))
    # Doors drain one after another.
    stop_seconds = 2 * configuration.drain_seconds + _MARGIN
    with lifeline, ours, Processes(parts, stop_seconds).running() as processes:
        yield processes


def _listen(configuration: Configuration, stack: contextlib.ExitStack) -> dict[str, socket.socket]:
    """Bind all addresses in this process, or take what systemd holds open: they are known and reserved before the others start."""
    handed = systemd.Handed.take(os.environ)
    sockets = {
        name: stack.enter_context(
            contextlib.closing(handed.find(listen) or addresses.bind(name, listen, mount.BACKLOG))
        )
        for name, listen in configuration.places().items()
    }
    handed.check_all_found()
    return sockets


def _urls(configuration: Configuration, sockets: Mapping[str, socket.socket]) -> Urls:
    def url(name: str, door: Door | None) -> str | None:
        if name not in sockets:
            return None
        scheme = "https" if configuration.tls and door and not door.listen.path else "http"
        return (door and door.public_url) or f"{scheme}://{_address(sockets[name])}"

    return Urls(
        str(url("broker", configuration.broker)),
        str(url("edge", configuration.edge)),
        url("provider", None),
        url("issuer", None),
        url("administration", configuration.administration),
    )


def _running(
    configuration: Configuration, machine: Machine, urls: Urls, request_token: str | None, page: socket.socket | None
) -> Running:
    return Running(
        urls,
        machine.callers.admin(),
        machine.directory,
        request_token,
        machine.keys_not_set(),
        is_temporary=configuration.state is None,
        metrics=f"http://{_address(page)}/metrics" if page else None,
        administration=_reached(configuration.administration, urls),
    )


def _reached(administration: Door | None, urls: Urls) -> str | None:
    if administration and administration.listen.path and not administration.public_url:
        return f"unix:{administration.listen.path}"  # at which requests are signed for localhost
    return urls.administration


def _address(one: socket.socket) -> str:
    if one.family == socket.AF_UNIX:
        return "localhost"
    return str(addresses.Listen(*one.getsockname()[:2]))
