"""`keybroker doctor`: what is wrong here, from keys that lie about to a grant that does not match."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import click

from keybroker import ambient, bounded_http
from keybroker.cli import failure, key_places, output, place, sdk_variables
from keybroker.cli.failure import DONE, LOCAL, Failure
from keybroker.cli.key_places import Lying
from keybroker.cli.place import Place
from keybroker.cli.plain_text import plain
from keybroker.errors import KeybrokerError
from keybroker.identity_claims import unverified_claims
from keybroker.token_provider import TokenProvider

_SECONDS = 10.0
_LEEWAY = 30
"""Seconds by which the broker lets an identity token's times be off."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says. state: ok, warning or error. code: the exit code it is worth. advice: what to do."""

    check: str
    state: str
    text: str
    advice: str = ""
    code: int = DONE


@click.command(short_help="Find stray keys, and what is wrong here.")
@click.option(
    "--key", "keys", multiple=True, metavar="NAME", help="Try for a token of this key; may be repeated. [those found]"
)
@click.option("--tree", default=".", metavar="DIR", help="The working tree that is looked through. [here]")
@place.options
@place.passed
def doctor(at: Place, keys: tuple[str, ...], tree: str) -> int:
    """Look for providers' keys, and for what would keep this process from getting a token.

    Ends with the exit code of the first error: 1 keys lie about, 2 no broker, 4 no identity, 3 no grant, 5 quota.
    """
    found = []
    for one in _checks(at, keys, Path(tree).resolve()):
        found.append(one)
        if not at.json:
            _show(one)
    if at.json:
        output.as_json([{name: value for name, value in asdict(one).items() if name != "code"} for one in found])
    return next((one.code for one in found if one.code), DONE)


def _checks(at: Place, keys: tuple[str, ...], tree: Path) -> Iterator[Finding]:
    with output.waiting(f"looking through {tree}"):
        lying = list(key_places.look(os.environ, tree, Path.home()))
    yield from map(_lies, lying)
    if not lying:
        yield Finding("keys", "ok", "no provider's key in the environment, the working tree or a shell's history")
    yield from _broker(at)
    yield _identity()
    tried = keys or tuple(sorted({one.provider for one in lying}))
    if not tried:
        yield Finding("grant", "warning", "not tried", "say --key NAME to try for a token")
    yield from (_grant(at, key) for key in tried)


def _lies(lying: Lying) -> Finding:
    name = lying.provider
    variables = sdk_variables.of(name)
    advice = (
        f"give it to the broker (keybroker keys set {name}), run the program with keybroker exec --key {name} -- …, "
        f"take {variables.key} away, and have {name} revoke this key: others may have it"
    )
    return Finding("keys", "error", f"{name}: {lying.place}", advice, LOCAL)


def _broker(at: Place) -> Iterator[Finding]:
    try:
        with output.waiting(f"waiting for {at.broker}"):
            answer = bounded_http.get(f"{at.broker}/healthz", {"accept": "application/json"}, _SECONDS)
    except KeybrokerError as fault:
        yield _failed("broker", failure.of(fault))
        return
    except Failure as ended:
        yield _failed("broker", ended)
        return
    if answer.status != 200 or not answer.body.startswith(b"{"):
        yield Finding("broker", "error", f"{at.broker}: HTTP {answer.status}", "is the address right?", failure.REMOTE)
        return
    yield Finding("broker", "ok", at.broker)
    try:
        off = time.time() - parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError):
        yield Finding("clock", "warning", "the broker's answer has no date to compare with")
        return
    if abs(off) > _LEEWAY:
        advice = "set the clock (NTP): identity tokens and signatures are refused by their times"
        yield Finding(
            "clock", "error", f"{abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the broker's", advice, LOCAL
        )
    else:
        yield Finding("clock", "ok", f"within {_LEEWAY} s of the broker's")


def _identity() -> Finding:
    try:
        with output.waiting("looking for an identity"):
            identity = ambient.find()
    except KeybrokerError as fault:
        return _failed("identity", failure.of(fault))
    claims = unverified_claims(identity.unverified_subject_token)
    said = f", which says it is {claims['sub']} of {claims['iss']}" if {"sub", "iss"} <= claims.keys() else ""
    return Finding("identity", "ok", f"{identity.source}{said}")


def _grant(at: Place, key: str) -> Finding:
    try:
        provider = TokenProvider(key, at.broker)
        with output.waiting(f"waiting for {at.broker}"):
            token = provider.token()
            provider.revoke()
    except KeybrokerError as fault:
        return _failed(f"grant for {key}", failure.of(fault))
    except Failure as ended:
        return _failed(f"grant for {key}", ended)
    return Finding(f"grant for {key}", "ok", f"{token.expires_in} s for {token.scope} at {token.base_url}")


def _failed(check: str, ended: Failure) -> Finding:
    first, *more = ended.lines
    return Finding(check, "error", first, " ".join(line.strip() for line in more), ended.code)


def _show(one: Finding) -> None:
    output.marked(one.state, f"{one.check}: {one.text}")
    if one.advice:
        output.data(f"  {plain(one.advice)}")
