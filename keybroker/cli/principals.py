"""`keybroker principals …`: who holds tokens, one of them, and binding an AWS role that was made again."""

from __future__ import annotations

from typing import Any

import click

from keybroker.cli import output, place, when
from keybroker.cli.administration import Administration, segment
from keybroker.cli.place import Place


@click.group(invoke_without_command=True, short_help="List who holds tokens; look at one.")
@place.options
@click.pass_context
def principals(context: click.Context) -> None:
    """List who did anything today or yesterday (UTC)."""
    if context.invoked_subcommand is not None:
        return
    at = context.ensure_object(Place)
    found = list(Administration(at.administration).items("/admin/principals", {}))
    if at.json:
        output.as_json(found)
        return
    headings = ("principal", "name", "grants", "last seen", "tokens", "calls", "refused")
    rows = [
        (
            one["principal"],
            one["name"],
            ", ".join(one["grants"]),
            when.shown(one["last_seen"]),
            one["tokens"],
            one["calls"],
            one["refused"],
        )
        for one in found
    ]
    output.rows(headings, rows)


@principals.command()
@click.argument("sub", metavar="SUB")
@place.options
@place.passed
def show(at: Place, sub: str) -> None:
    """Show how one stands, what it did, its live tokens, and (with --output json) its newest events."""
    said = Administration(at.administration).get(f"/admin/principals/{segment(sub)}")
    if at.json:
        output.as_json(said)
        return
    blocks = [_block(one) for one in said["standing"]["blocks"]]
    stands = f"blocked by {', '.join(blocks)}" if said["standing"]["blocked"] else "not blocked"
    output.members(
        [("principal", said["principal"]), ("name", said["name"]), ("issuer", said["issuer"]), ("stands", stands)]
    )
    output.data("")
    headings = ("window", "grant", "key", "tokens", "calls", "refused tokens", "refused calls")
    output.rows(headings, [_used(window, one) for window in ("hour", "today") for one in said[window]["grants"]])
    if said["live_tokens"]:
        output.data("")
        rows = [(one["jti"], one["grant"], one["key"], when.shown(one["expires"])) for one in said["live_tokens"]]
        output.rows(("live token", "grant", "key", "expires"), rows)


@principals.command("re-pin")
@click.argument("arn", metavar="ARN")
@click.argument("unique_id", metavar="ID")
@click.option("--dry-run", is_flag=True, help="Check everything, change nothing.")
@place.options
@place.passed
def re_pin(at: Place, arn: str, unique_id: str, dry_run: bool) -> None:  # noqa: FBT001  a flag
    """Bind an AWS role or user to its new unique id (AROA…, AIDA…): it was made again, and that is meant."""
    path = f"/admin/principals/{segment(arn)}/pin"
    said = Administration(at.administration).call("POST", path, {"dry_run": dry_run}, {"unique_id": unique_id}).body
    if at.json:
        output.as_json(said)
    else:
        done = "a dry run: would be bound" if dry_run else "bound"
        output.message(f"{done}: {said['principal']} to {said['unique_id']}")


def _used(window: str, one: dict[str, Any]) -> tuple[object, ...]:
    refused = (output.counts(one["refused_tokens"]) or "-", output.counts(one["refused_calls"]) or "-")
    return (window, one["grant"], one["key"], one["tokens"], one["calls"], *refused)


def _block(one: dict[str, Any]) -> str:
    return f"{one['revocation']} until {when.shown(one['until'])}" if one["until"] else str(one["revocation"])
