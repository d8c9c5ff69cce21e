"""`keybroker revoke …`: revokes tokens, everywhere, from the next call on."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from typing import Any

import click

from keybroker.claims import unverified_claims
from keybroker.cli import input_file, output, shortened
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.command_error import LOCAL, REMOTE, CommandError
from keybroker.cli.id_command import IdCommand
from keybroker.cli.principal_id import is_short, resolve
from keybroker.cli.settings import Settings, common_options, dry_run_option, pass_settings
from keybroker.cli.times import FUTURE, format_time

_SCOPES = {
    "principal": ("SUB", "all tokens of a principal, by its id or by a name that it alone has, and new ones"),
    "token": ("JTI", "a single token, by its jti; - reads the token itself from standard input"),
    "grant": ("NAME", "all tokens of a grant, and new ones"),
    "key": ("NAME", "all tokens for a key, and new ones"),
    "issuer": ("URL", "all tokens obtained with an issuer's identity tokens, and new ones"),
}


@click.group(short_help="Revoke tokens, from the next call on.")
@common_options
def revoke() -> None:
    """Revoke a token, the tokens of a principal, a grant, a key or an issuer, or everything.

    The revocation is in force when the command returns; `keybroker restore` restores what was revoked.
    """


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("--reason", required=True, metavar="TEXT", help="Why; recorded and shown with the revocation."),
        click.option("--until", type=FUTURE, metavar="TIME", help="When to restore by itself: 2h, 2026-11-24T09:30."),
        dry_run_option("Show who would be cut off; change nothing."),
        common_options,
        pass_settings,
    )
    for option in reversed(options):
        command = option(command)
    return command


def _add(scope: str, metavar: str, what: str) -> None:
    @revoke.command(scope, cls=IdCommand, help=f"Revoke {what}.", short_help=what)
    @click.argument("target", metavar=metavar)
    @_options
    def command(settings: Settings, /, target: str, dry_run: bool, **fields: Any) -> None:  # noqa: FBT001, ANN401  a flag; the others
        target_id = _read_jti() if (scope, target) == ("token", "-") else target
        if scope == "principal" and is_short(target):
            target_id = resolve(AdminClient(settings.admin_api_url), target)
        unseen = fields.pop("unseen", False) or None
        _revoke(settings, {"scope": scope, "id": target_id, "unseen": unseen, **fields}, dry_run=dry_run)

    if scope in ("principal", "token"):
        click.option("--unseen", is_flag=True, help="Even if it was never seen, e.g. before its first use.")(command)


def _read_jti() -> str:
    """Return the `jti` of a token on standard input: on the command line, other users could read it."""
    jti = unverified_claims(input_file.read_text("-").strip()).get("jti")
    if not jti or not isinstance(jti, str):
        raise CommandError(LOCAL, "standard input contains no token with a jti")
    return jti


for _scope, (_metavar, _what) in _SCOPES.items():
    _add(_scope, _metavar, _what)


@revoke.command(short_help="all tokens, and new ones")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@_options
def everything(settings: Settings, yes: bool, reason: str, until: int | None, dry_run: bool) -> None:  # noqa: FBT001  flags
    """Revoke all tokens: every caller of every key is cut off."""
    if not (yes or dry_run):
        if not sys.stdin.isatty():
            text = "this cuts off every caller of every key: pass --yes to confirm, or --dry-run to see who is affected"
            raise CommandError(LOCAL, text)
        if not click.confirm("Cut off every caller of every key?", err=True):
            raise CommandError(LOCAL, "nothing was changed")
    _revoke(settings, {"scope": "everything", "id": "*", "reason": reason, "until": until}, dry_run=dry_run)


def _revoke(settings: Settings, fields: dict[str, Any], *, dry_run: bool) -> None:
    client = AdminClient(settings.admin_api_url)
    body = {name: value for name, value in fields.items() if value is not None}
    # Repeated with the same key, a revocation whose response was lost is made only once (docs/admin.md).
    headers = {"idempotency-key": secrets.token_hex(16)}
    try:
        result = client.call("POST", "/admin/revocations", {"dry_run": dry_run}, body, headers).body
    except CommandError as error:
        if error.code != REMOTE:
            raise
        output.message("no response; retrying")
        result = client.call("POST", "/admin/revocations", {"dry_run": dry_run}, body, headers).body
    if settings.json:
        output.as_json(result)
    elif dry_run:
        _show_impact(result)
    else:
        output.data(result["id"])
        until = f" until {format_time(result['until'])}" if result["until"] else ""
        target = f"{result['scope']} {result['target']}"
        output.message(f"in force{until}: {target}; to restore it: keybroker restore {result['id']}")


def _show_impact(impact: dict[str, Any]) -> None:
    ids = shortened.principals({row["principal"] for row in impact["principals"]})
    headings = ("name", "principal", "grants", "live tokens", "calls last hour")
    rows = [
        (row["name"], ids[row["principal"]], ", ".join(row["grants"]), row["live_tokens"], row["calls_last_hour"])
        for row in sorted(impact["principals"], key=lambda one: -one["calls_last_hour"])
    ]
    output.rows(headings, rows)
    more = "" if impact["complete"] else ", possibly more: not every event was read"
    output.message(f"dry run: live tokens that would be revoked: {impact['tokens']}{more}; nothing was changed")
