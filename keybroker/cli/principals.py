"""`keybroker principals …`: lists principals, shows one, and re-pins an AWS role that was re-created."""

from __future__ import annotations

from typing import Any

import click

from keybroker.cli import output, shortened
from keybroker.cli.admin_client import AdminClient, segment
from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.cli.principal_id import resolve
from keybroker.cli.settings import Settings, common_options, dry_run_option, pass_settings
from keybroker.cli.times import format_time
from keybroker.cli.watching import shown, watch_option


@click.group(invoke_without_command=True, short_help="List principals, or show one.")
@watch_option
@common_options
@click.pass_context
def principals(context: click.Context, watch: int | None) -> None:
    """List the principals that were active today or yesterday (UTC)."""
    if context.invoked_subcommand is not None:
        if watch is not None:
            raise CommandError(LOCAL, "--watch is of the list: leave it out")
        return
    settings = context.ensure_object(Settings)
    client = AdminClient(settings.admin_api_url)
    shown(settings, watch, lambda: _list(client, settings))


def _list(client: AdminClient, settings: Settings) -> None:
    found = list(client.items("/admin/principals", {}))
    if settings.json:
        output.as_json(found, line=settings.lines)
        return
    ids = shortened.principals({row["principal"] for row in found})
    headings = ("name", "principal", "grants", "calls", "refused", "tokens", "seen")
    rows = [
        (
            row["name"],
            ids[row["principal"]],
            ", ".join(row["grants"]),
            row["calls"],
            row["refused"],
            row["tokens"],
            shortened.age(row["last_seen"]),
        )
        for row in sorted(found, key=lambda one: (-one["calls"], -one["refused"], one["name"]))
    ]
    output.rows(headings, rows)


@principals.command()
@click.argument("sub", metavar="SUB")
@common_options
@pass_settings
def show(settings: Settings, sub: str) -> None:
    """Show a principal's state, usage and live tokens, and (with --output json) its latest events."""
    client = AdminClient(settings.admin_api_url)
    result = client.get(f"/admin/principals/{segment(resolve(client, sub))}")
    if settings.json:
        output.as_json(result)
        return
    blocks = [_block(block) for block in result["standing"]["blocks"]]
    state = f"blocked by {', '.join(blocks)}" if result["standing"]["blocked"] else "not blocked"
    about = [*((name, result[name]) for name in ("principal", "name", "issuer")), ("state", state)]
    output.members([*about, ("admitted by", _admitting(result))])
    output.data("")
    headings = ("window", "grant", "key", "calls", "refused", "tokens", "refused")
    windows = ("hour", "today")
    output.rows(headings, [_usage_row(window, grant) for window in windows for grant in result[window]["grants"]])
    if result["live_tokens"]:
        output.data("")
        tokens = result["live_tokens"]
        rows = [(token["jti"], token["grant"], token["key"], format_time(token["expires"])) for token in tokens]
        output.rows(("live token", "grant", "key", "expires"), rows)
    if ended := result.get("ended_tokens"):
        output.message(f"unexpired, but refused: {output.number(ended, 'token')}")


@principals.command("re-pin")
@click.argument("arn", metavar="ARN")
@click.argument("unique_id", metavar="ID")
@dry_run_option()
@common_options
@pass_settings
def re_pin(settings: Settings, arn: str, unique_id: str, dry_run: bool) -> None:  # noqa: FBT001  a flag
    """Bind an AWS role or user to its new unique ID (AROA…, AIDA…) after it was re-created on purpose."""
    path = f"/admin/principals/{segment(arn)}/pin"
    client = AdminClient(settings.admin_api_url)
    result = client.call("POST", path, {"dry_run": dry_run}, {"unique_id": unique_id}).body
    if settings.json:
        output.as_json(result)
    else:
        action = "dry run: would bind" if dry_run else "bound"
        output.message(f"{action} {result['principal']} to {result['unique_id']}")


def _admitting(result: dict[str, Any]) -> str:
    """Say which grants admit it today; "-" where no identity of it was recorded."""
    found = result.get("admitting", {}).get("grants")
    if found is None:
        return "-"
    named = ", ".join(one["grant"] for one in found)
    return named or f"no grant of policy version {result['admitting']['version']}"


def _usage_row(window: str, grant: dict[str, Any]) -> tuple[object, ...]:
    calls, tokens = (output.counts(grant[f"refused_{what}"]) or "-" for what in ("calls", "tokens"))
    return (window, grant["grant"], grant["key"], grant["calls"], calls, grant["tokens"], tokens)


def _block(block: dict[str, Any]) -> str:
    return f"{block['revocation']} until {format_time(block['until'])}" if block["until"] else str(block["revocation"])
