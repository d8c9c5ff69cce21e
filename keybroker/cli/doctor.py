"""`keybroker doctor`: finds setup problems, from leaked keys to a grant that does not match."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from email.utils import parsedate_to_datetime
from pathlib import Path

import click

from keybroker import http_client
from keybroker.ambient import find_identity
from keybroker.claims import unverified_claims
from keybroker.cli import command_error, key_scan, output
from keybroker.cli.command_error import DONE, LOCAL, CommandError
from keybroker.cli.finding import Finding
from keybroker.cli.key_scan import LeakedKey
from keybroker.cli.plain_text import plain
from keybroker.cli.sdk_variables import variables_for
from keybroker.cli.settings import Settings, common_options, pass_settings
from keybroker.duration import words
from keybroker.errors import KeybrokerError
from keybroker.token_provider import TokenProvider

_TIMEOUT = 10.0
_LEEWAY = 30
"""Seconds by which an identity token's times may differ from the broker's clock."""


@click.command(short_help="Find leaked keys and setup problems.")
@click.option(
    "--key", "keys", multiple=True, metavar="NAME", help="Request a token for this key; may be repeated. [keys found]"
)
@click.option("--tree", default=".", metavar="DIR", help="The working tree to search. [current directory]")
@click.option("--history", is_flag=True, help="Search the tree's git history, too, for a minute at most.")
@click.option("--child", is_flag=True, help="Only look for doors that are open to a program of keybroker exec.")
@click.option("--isolate", is_flag=True, help="With --child: as exec --isolate runs it.")
@click.option("--user", metavar="NAME", help="With --child: as exec --user runs it.")
@common_options
@pass_settings
def doctor(  # noqa: PLR0913, PLR0917  options
    settings: Settings,
    keys: tuple[str, ...],
    tree: str,
    history: bool,  # noqa: FBT001  a flag
    child: bool,  # noqa: FBT001  a flag
    isolate: bool,  # noqa: FBT001  a flag
    user: str | None,
) -> int:
    """Find providers' keys, and problems that keep this process from getting a token.

    Runs nothing of the tree: no hook, no program that its git configuration names. Exits with the code of the first error: 1 keys found, 2 no broker, 4 no identity, 3 no grant, 5 quota.
    """
    if not child and (isolate or user):
        raise CommandError(LOCAL, "--isolate and --user apply to --child")
    if child:
        from keybroker.cli import child_doors  # noqa: PLC0415  only needed with --child

        checks = child_doors.check(isolate=isolate, user=user, may_restart=settings.owns_process)
    else:
        checks = _checks(settings, keys, Path(tree).resolve(), history=history)
    findings = []
    for finding in checks:
        findings.append(finding)
        if not settings.json:
            _show(finding)
    if settings.json:
        output.as_json(
            [{name: value for name, value in asdict(finding).items() if name != "code"} for finding in findings]
        )
    return next((finding.code for finding in findings if finding.code), DONE)


def _checks(settings: Settings, keys: tuple[str, ...], tree: Path, *, history: bool) -> Iterator[Finding]:
    with output.waiting(f"searching {tree}"):
        scanned = key_scan.scan(os.environ, tree, Path.home())
    leaked = scanned.leaked
    yield from map(_leak, leaked)
    if scanned.missing:
        yield Finding("keys", "warning", scanned.missing, "pass --tree DIR to search a part of the tree")
    elif not leaked:
        yield Finding("keys", "ok", "no provider keys in the environment, the working tree or the shell history")
    if history:
        yield from _history(tree)
    yield from _broker(settings)
    yield _identity()
    names = keys or tuple(sorted({key.provider for key in leaked}))
    if not names:
        yield Finding("grant", "warning", "not tried", "pass --key NAME to request a token")
    yield from (_grant(settings, name) for name in names)


def _leak(leaked: LeakedKey) -> Finding:
    name = leaked.provider
    advice = (
        f"store it in the broker (keybroker keys set {name}), run the program with keybroker exec --key {name} -- …, "
        f"remove {variables_for(name).key}, and revoke this key at {name}: it may have leaked"
    )
    return Finding("keys", "error", f"{name}: {leaked.location}", advice, LOCAL)


def _history(tree: Path) -> Iterator[Finding]:
    from keybroker.cli import git_history  # noqa: PLC0415  only needed with --history

    with output.waiting(f"searching the git history of {tree}"):
        found = git_history.scan(tree)
    for one in found.leaked:
        advice = f"revoke this key at {one.provider}: every copy of the repository has it, even if the file is removed"
        yield Finding("history", "error", f"{one.provider}: {one.location}", advice, LOCAL)
    if found.missing:
        yield Finding("history", "warning", found.missing)
    elif not found.leaked:
        yield Finding("history", "ok", f"no provider keys in {found.versions} versions of files")


def _broker(settings: Settings) -> Iterator[Finding]:
    try:
        url = settings.broker_url
        with output.waiting(f"waiting for {url}"):
            response = http_client.get(f"{url}/healthz", {"accept": "application/json"}, _TIMEOUT)
    except (KeybrokerError, CommandError) as error:
        yield _failed("broker", error)
        return
    if response.status != 200 or not response.body.startswith(b"{"):
        text = f"{url}: HTTP {response.status}"
        yield Finding("broker", "error", text, "check the address", command_error.REMOTE)
        return
    yield Finding("broker", "ok", url)
    try:
        ahead = time.time() - parsedate_to_datetime(response.headers["date"]).timestamp()
    except (KeyError, ValueError):
        yield Finding("clock", "warning", "the broker's response has no Date header to compare with")
        return
    if abs(ahead) > _LEEWAY:
        text = f"{words(round(abs(ahead)))} {'ahead of' if ahead > 0 else 'behind'} the broker's"
        advice = "set the clock (NTP): identity tokens and signatures with wrong times are refused"
        yield Finding("clock", "error", text, advice, LOCAL)
    else:
        yield Finding("clock", "ok", f"within {_LEEWAY} s of the broker's")


def _identity() -> Finding:
    try:
        with output.waiting("looking for an identity"):
            identity = find_identity()
    except KeybrokerError as error:
        return _failed("identity", error)
    claims = unverified_claims(identity.unverified_subject_token)
    subject = f": {claims['sub']}, issued by {claims['iss']}" if {"sub", "iss"} <= claims.keys() else ""
    return Finding("identity", "ok", f"{identity.source}{subject}")


def _grant(settings: Settings, key: str) -> Finding:
    check = f"grant for {key}"
    try:
        provider = TokenProvider(key, settings.broker_url)
        with output.waiting(f"waiting for {settings.broker_url}"):
            token = provider.token()
            provider.revoke()
    except (KeybrokerError, CommandError) as error:
        return _failed(check, error)
    return Finding(check, "ok", f"{words(token.expires_in)} for {token.scope} at {token.base_url}")


def _failed(check: str, error: KeybrokerError | CommandError) -> Finding:
    failed = command_error.from_error(error) if isinstance(error, KeybrokerError) else error
    first, *more = failed.lines
    return Finding(check, "error", first, " ".join(line.strip() for line in more), failed.code)


def _show(finding: Finding) -> None:
    output.marked(finding.state, f"{finding.check}: {finding.text}")
    if finding.advice:
        output.data(f"  {plain(finding.advice)}")
