"""`keybroker signing …`: the keys that sign tokens: change them without an outage, or taint one that leaked."""

from __future__ import annotations

from typing import Any

import click

from keybroker.cli import output, shortened, shown_id
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.id_command import IdCommand
from keybroker.cli.principal_id import ELLIPSIS
from keybroker.cli.settings import Settings, common_options, dry_run_option, pass_settings

_DONE = {
    "prepare": "prepared: {kid} is accepted everywhere in 10 s; then: keybroker signing activate {kid}",
    "activate": "in force: {kid} signs from the next token on; the one before it is still accepted",
    "taint": "in force: tokens of {kid} are refused from the next call on, and it never signs again",
    "retire": "retired: {kid} is not accepted any more",
}
_WOULD = {
    "prepare": "would be prepared",
    "activate": "would sign from the next token on",
    "taint": "would be tainted: all of its tokens would be refused",
    "retire": "would be retired",
}


@click.group(short_help="List and change the keys that sign tokens.")
@common_options
def signing() -> None:
    """List and change the keys that sign tokens.

    To change keys without an outage: prepare one, activate it after 10 s, and retire the old one when its last token has
    ended, which takes 1 h. A key that leaked: taint it, and its tokens are refused from the next call on.
    """


@signing.command("list")
@common_options
@pass_settings
def list_signing_keys(settings: Settings) -> None:
    """List the signing keys: which one signs, which are accepted, which are tainted."""
    found = list(AdminClient(settings.admin_api_url).get("/admin/signing")["items"])
    if settings.json:
        output.as_json(found)
        return
    times = ("prepared", "stopped", "tainted")
    rows = [(one["kid"], one["status"], *(shortened.age(one[name]) for name in times)) for one in found]
    output.rows(("kid", "status", *times), rows)


@signing.command("prepare", cls=IdCommand, short_help="Let every verifier know a key before it signs.")
@click.argument("kid", required=False, default="")
@dry_run_option()
@common_options
@pass_settings
def prepare(settings: Settings, kid: str, dry_run: bool) -> None:  # noqa: FBT001  a flag
    """Let every verifier know a key before it signs; without KID a spare one, which is made on one machine.

    On AWS keys are made in KMS, and published by a deployment.
    """
    _change(settings, "prepare", {"kid": kid}, dry_run=dry_run)


@signing.command("activate", cls=IdCommand, short_help="Let a prepared key sign.")
@click.argument("kid")
@dry_run_option()
@common_options
@pass_settings
def activate(settings: Settings, kid: str, dry_run: bool) -> None:  # noqa: FBT001  a flag
    """Let a prepared key sign from the next token on. Tokens of the one before it stay valid until they end."""
    _change(settings, "activate", {"kid": kid}, dry_run=dry_run)


@signing.command("taint", cls=IdCommand, short_help="Refuse all tokens of a key that leaked, at once.")
@click.argument("kid")
@click.option("--reason", required=True, metavar="TEXT", help="Why, for the audit.")
@dry_run_option()
@common_options
@pass_settings
def taint(settings: Settings, kid: str, reason: str, dry_run: bool) -> None:  # noqa: FBT001  a flag
    """Refuse all tokens of a key from the next call on, for good. If it signs, the newest other one signs instead."""
    _change(settings, "taint", {"kid": kid, "reason": reason}, dry_run=dry_run)


@signing.command("retire", cls=IdCommand, short_help="Stop to accept a key whose tokens have ended.")
@click.argument("kid")
@dry_run_option()
@common_options
@pass_settings
def retire(settings: Settings, kid: str, dry_run: bool) -> None:  # noqa: FBT001  a flag
    """Stop to accept a key once none of its tokens can be alive."""
    _change(settings, "retire", {"kid": kid}, dry_run=dry_run)


def _change(settings: Settings, action: str, fields: dict[str, Any], *, dry_run: bool) -> None:
    client = AdminClient(settings.admin_api_url)
    if ELLIPSIS in fields["kid"]:
        listed = client.get("/admin/signing")["items"]
        fields = {**fields, "kid": shown_id.one_of((one["kid"] for one in listed), fields["kid"], "the signing keys")}
    body = {"action": action, **{name: value for name, value in fields.items() if value}}
    result = client.call("POST", "/admin/signing", {"dry_run": dry_run}, body).body
    kid = result["kid"] or "a spare key"
    if settings.json:
        output.as_json(result)
    elif dry_run:
        told = _WOULD[action] if result["changed"] else f"is {result['status']} already"
        output.message(f"dry run: {kid} {told}; nothing was changed")
    elif not result["changed"]:
        output.message(f"nothing to do: {kid} is {result['status']} already")
    else:
        output.message(_DONE[action].format(kid=kid))
