"""`serve --check`: reads everything that a start would, and starts, makes and changes nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from chalicelib.errors import Unavailable
from chalicelib.policy import compile as policy
from chalicelib.policy.compile import InvalidPolicyError
from local import addresses, descriptors, directory_lock, price_file, restoring, sealing
from local.addresses import Listen
from local.configuration import Configuration, Door
from local.errors import NoPolicyYet, PolicyInForceUnusable, StateFileOlder, StateOfAnotherUser
from local.machine import Machine
from local.start import first_policy
from local.tls import Pair, when
from local.urls import Urls

Finding = tuple[str, str]
"""`ok`, `warning` or `error`, and what was found."""
_OF_THE_ONE_THAT_RUNS = (errno.EADDRINUSE, errno.EACCES)
"""Why an address cannot be had beside a server that has it, or is handed it by systemd."""


def report(told: Configuration) -> int:
    """Say what was found of a state directory's server, as `say` does."""
    machine = Machine(told.state, urls(told)) if told.state else None
    files = [certificate(told), _policy_file(told, machine), _prices(told)]
    return say([*files, _addresses(told, machine), _state(told, machine)])


def say(parts: Iterable[Iterator[Finding]]) -> int:
    """Say on stderr what all parts find, one line each, and return the exit code: 0, or 1 if a start would fail.

    A server that runs with this configuration is what a check is made beside, and no fault: that is a warning.
    """
    found = list(dict.fromkeys(_found(parts)))
    failed = any(kind == "error" for kind, _ in found)
    for kind, text in found:
        if kind != "ok" or not failed:
            print(f"{kind}: {text}", file=sys.stderr)
    return 1 if failed else 0


def _found(parts: Iterable[Iterator[Finding]]) -> Iterator[Finding]:
    for one in parts:
        try:
            yield from one
        except InvalidPolicyError as error:
            yield from (("error", str(fault)) for fault in error.faults)
        except Unavailable as fault:
            yield "error", f"{fault.reason} ({fault.hint})"
        except OSError as fault:
            yield "error", str(fault)


def certificate(told: Configuration) -> Iterator[Finding]:
    """Look at the certificate, and whether there are descriptors enough to serve with."""
    descriptors.raise_limit()
    descriptors.share()
    if told.tls:
        now = time.time()
        pair = Pair.read(told.tls, now)
        soon = pair.warning(told.tls.certificate, now)
        yield ("warning", soon) if soon else ("ok", f"{told.tls.certificate} serves until {when(pair.ends)}")
        if told.tls.key.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
            yield "warning", f"{told.tls.key} is for every user of this machine: chmod o= {told.tls.key}"


def doors(places: Mapping[str, Listen], *, runs: bool) -> Iterator[Finding]:
    """Look at where a server is to listen. runs: whether one may do so already."""
    for name, listen in places.items():
        try:
            addresses.check(name, listen)
        except OSError as fault:
            yield "warning" if runs and fault.errno in _OF_THE_ONE_THAT_RUNS else "error", str(fault)


def _policy_file(told: Configuration, machine: Machine | None) -> Iterator[Finding]:
    if told.policy and machine:
        try:
            text, name = first_policy(told.policy, practising=False)
            parsed = policy.parse(text, name, machine.rules())
        except (InvalidPolicyError, Unavailable) as error:
            if told.apply or not _has_policy(machine):
                raise
            faults = error.faults if isinstance(error, InvalidPolicyError) else ()
            yield from (("warning", str(fault)) for fault in faults)
            yield "warning", f"{told.policy} is no use, and passed over: the policy in force stays"
            return
        yield "ok", f"{name} has {_number(len(parsed.keys), 'key')} and {_number(len(parsed.grants), 'grant')}"


def _has_policy(machine: Machine) -> bool:
    """Whether a policy is in force, which a start leaves there."""
    with contextlib.suppress(Unavailable):  # what is wrong with it is told by `_state`
        return bool(machine.control().current().version)
    return False


def _prices(told: Configuration) -> Iterator[Finding]:
    yield "ok", price_file.told(told.prices)


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _addresses(told: Configuration, machine: Machine | None) -> Iterator[Finding]:
    runs = machine is not None and _is_served(machine.directory)
    if machine and runs:
        yield "warning", f"{machine.directory} is served now: another server starts once that one has stopped"
    yield from doors(told.places(), runs=runs)


def _is_served(directory: Path) -> bool:
    with contextlib.suppress(OSError):  # what is wrong with it is told by `_state`
        return directory_lock.is_held(directory)
    return False


def _state(told: Configuration, machine: Machine | None) -> Iterator[Finding]:
    if machine:
        _check_owner(machine.directory)
        sealing.named()  # a start seals what it finds in the clear
    if machine and restoring.is_unfinished(machine.directory):
        yield "ok", f"{machine.directory} has a restore that was cut off, which the start finishes"
        return
    if machine is None or not (machine.directory / "signing-key.pem").exists():
        if not told.policy and not told.practice:
            raise NoPolicyYet
        if machine and (machine.directory / "state.db").exists():
            text = f"{machine.directory / 'signing-key.pem'} is missing: a start makes a new one, which ends all tokens"
            yield "warning", text
        else:
            yield "ok", f"{machine.directory if machine else 'a temporary state directory'} is made at the start"
        return
    machine.check()
    try:
        names = ", ".join(machine.keys_not_set())
    except StateFileOlder:
        yield "ok", f"{machine.directory} is of an older Keybroker, and is brought up to date at the start"
        return
    except InvalidPolicyError as error:
        hint = f"{error.faults[0]}; name another with --policy FILE --apply"
        raise PolicyInForceUnusable(hint=hint) from error
    yield "ok", f"{machine.directory} holds the state" + (f"; these keys are not set: {names}" if names else "")


def _check_owner(directory: Path) -> None:
    """Raise StateOfAnotherUser or OSError unless this user can make a directory, or it is this user's."""
    there = next(one for one in (directory, *directory.absolute().parents) if one.exists())
    status = there.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    if there == directory and status.st_uid not in (0, os.geteuid()):
        hint = f"{directory} belongs to user {status.st_uid}: run this as that user, such as by sudo -u"
        raise StateOfAnotherUser(hint=hint)
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there))


def urls(told: Configuration) -> Urls:
    """Return the URLs of a configuration, as far as they are known before anything listens."""

    def url(door: Door) -> str:
        return door.public_url or f"{'https' if told.tls else 'http'}://{door.listen}"

    administration = url(told.administration) if told.administration and not told.administration.listen.path else None
    provider = f"http://{told.practice.provider}" if told.practice else None
    issuer = f"http://{told.practice.issuer}" if told.practice else None
    return Urls(url(told.broker), url(told.edge), provider, issuer, administration)
