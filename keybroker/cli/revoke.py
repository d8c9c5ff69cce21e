"""`keybroker revoke …`: takes something back, everywhere, from the next call on."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from typing import Any

import click

from keybroker.cli import given_file, output, place, when
from keybroker.cli.administration import Administration
from keybroker.cli.failure import LOCAL, REMOTE, Failure
from keybroker.cli.place import Place
from keybroker.identity_claims import unverified_claims

_SCOPES = {
    "principal": ("SUB", "every token of one principal, and new ones for it"),
    "token": ("JTI", "one token, by its jti; - reads the token itself from standard input"),
    "grant": ("NAME", "every token of one grant, and new ones"),
    "key": ("NAME", "every token for one key, and new ones"),
    "issuer": ("URL", "every token that was got with an identity of one issuer, and new ones"),
}


@click.group(short_help="Take something back, from the next call on.")
@place.options
def revoke() -> None:
    """Take back a principal's tokens, a token, a grant's, a key's, an issuer's, or everything.

    It is in force when the command ends, from the next call on; `keybroker restore` ends it.
    """


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("--reason", required=True, metavar="TEXT", help="Why; it is kept, and shown to those who look."),
        click.option("--until", type=when.FUTURE, metavar="TIME", help="When it ends by itself: 2h, 2026-11-24T09:30."),
        click.option("--dry-run", is_flag=True, help="Say who would be cut off; change nothing."),
        place.options,
        place.passed,
    )
    for option in reversed(options):
        command = option(command)
    return command


def _add(scope: str, metavar: str, what: str) -> None:
    @revoke.command(scope, help=f"Take back {what}.", short_help=what)
    @click.argument("target", metavar=metavar)
    @_options
    def command(at: Place, target: str, reason: str, until: int | None, dry_run: bool) -> None:  # noqa: FBT001  a flag
        found = _id_of_token() if (scope, target) == ("token", "-") else target
        _revoke(at, {"scope": scope, "id": found, "reason": reason, "until": until}, dry_run=dry_run)


def _id_of_token() -> str:
    """Return the `jti` of a token that was found somewhere: on the command line, others could read it."""
    found = unverified_claims(given_file.text("-").strip()).get("jti")
    if not found or not isinstance(found, str):
        raise Failure(LOCAL, "standard input holds no token with a jti")
    return found


for _scope, (_metavar, _what) in _SCOPES.items():
    _add(_scope, _metavar, _what)


@revoke.command(short_help="every token there is, and new ones")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_options
def everything(at: Place, yes: bool, reason: str, until: int | None, dry_run: bool) -> None:  # noqa: FBT001  flags
    """Take back every token there is: all callers of all keys are cut off."""
    if not (yes or dry_run):
        if not sys.stdin.isatty():
            raise Failure(LOCAL, "this cuts off every caller of every key: say --yes, or --dry-run to see whom")
        if not click.confirm("Cut off every caller of every key?", err=True):
            raise Failure(LOCAL, "nothing was done")
    _revoke(at, {"scope": "everything", "id": "*", "reason": reason, "until": until}, dry_run=dry_run)


def _revoke(at: Place, asked: dict[str, Any], *, dry_run: bool) -> None:
    there, body = Administration(at.administration), {name: one for name, one in asked.items() if one is not None}
    # Sent again with the same key, a revocation whose answer was lost is made once (docs/admin.md).
    headers = {"idempotency-key": secrets.token_hex(16)}
    try:
        said = there.call("POST", "/admin/revocations", {"dry_run": dry_run}, body, headers).body
    except Failure as ended:
        if ended.code != REMOTE:
            raise
        output.message("no answer; once more")
        said = there.call("POST", "/admin/revocations", {"dry_run": dry_run}, body, headers).body
    if at.json:
        output.as_json(said)
    elif dry_run:
        _impact(said)
    else:
        output.data(said["id"])
        ends = f" until {when.shown(said['until'])}" if said["until"] else ""
        output.message(f"in force{ends}: {said['scope']} {said['target']}; keybroker restore {said['id']} ends it")


def _impact(said: dict[str, Any]) -> None:
    headings = ("principal", "name", "grants", "live tokens", "calls last hour")
    rows = [
        (one["principal"], one["name"], ", ".join(one["grants"]), one["live_tokens"], one["calls_last_hour"])
        for one in said["principals"]
    ]
    output.rows(headings, rows)
    more = "" if said["complete"] else ", and perhaps more: not every event was looked at"
    output.message(f"a dry run: live tokens that would be cut off: {said['tokens']}{more}; nothing was changed")
