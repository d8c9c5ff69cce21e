"""`serve --check`: reads everything that a start would, and starts, makes and changes nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from chalicelib.errors import Unavailable
from chalicelib.policy import compile as policy
from chalicelib.policy.compile import InvalidPolicyError
from local import descriptors
from local.configuration import Configuration, Door
from local.errors import NoPolicyYet, PolicyInForceUnusable, StateFileOlder
from local.machine import Machine, Urls
from local.start import first_policy
from local.tls import Pair, when


def report(told: Configuration) -> int:
    """Say on stderr what was found, one line each, and return the exit code: 0, or 1 if a start would fail."""
    faults: list[str] = []
    notes: list[str] = []
    for kind, text in _findings(told):
        (faults if kind == "error" else notes).append(f"{kind}: {text}")
    for line in faults or notes:
        print(line, file=sys.stderr)
    return 1 if faults else 0


def _findings(told: Configuration) -> Iterator[tuple[str, str]]:
    machine = Machine(told.state, urls(told)) if told.state else None
    for one in (_limits, _certificate, _policy_file, _state):
        try:
            yield from one(told, machine)
        except InvalidPolicyError as error:
            yield from (("error", str(fault)) for fault in error.faults)
        except Unavailable as fault:
            yield "error", f"{fault.reason} ({fault.hint})"
        except OSError as fault:
            yield "error", str(fault)


def _limits(_told: Configuration, _machine: Machine | None) -> Iterator[tuple[str, str]]:
    descriptors.raise_limit()
    descriptors.share()
    yield from ()


def _certificate(told: Configuration, _machine: Machine | None) -> Iterator[tuple[str, str]]:
    if told.tls:
        yield "ok", f"{told.tls.certificate} serves until {when(Pair.read(told.tls, time.time()).ends)}"


def _policy_file(told: Configuration, machine: Machine | None) -> Iterator[tuple[str, str]]:
    if told.policy and machine:
        text, name = first_policy(told.policy, practising=False)
        parsed = policy.parse(text, name, machine.rules())
        yield "ok", f"{name} has {len(parsed.keys)} keys and {len(parsed.grants)} grants"


def _state(told: Configuration, machine: Machine | None) -> Iterator[tuple[str, str]]:
    if machine is None or not (machine.directory / "signing-key.pem").exists():
        if not told.policy and not told.practice:
            raise NoPolicyYet
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


def urls(told: Configuration) -> Urls:
    """Return the URLs of a configuration, as far as they are known before anything listens."""

    def url(door: Door) -> str:
        return door.public_url or f"{'https' if told.tls else 'http'}://{door.listen}"

    administration = url(told.administration) if told.administration and not told.administration.listen.path else None
    provider = f"http://{told.practice.provider}" if told.practice else None
    issuer = f"http://{told.practice.issuer}" if told.practice else None
    return Urls(url(told.broker), url(told.edge), provider, issuer, administration)
