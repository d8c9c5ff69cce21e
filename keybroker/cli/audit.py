"""`keybroker audit …`: what the broker decided and why, newest first."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import click

from keybroker.cli import output, refused_call, server, shortened
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.audit_check import check, head
from keybroker.cli.audit_export import export
from keybroker.cli.audit_follow import follow
from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.cli.plain_text import plain
from keybroker.cli.principal_id import is_short, resolve
from keybroker.cli.settings import Settings, common_options
from keybroker.cli.shown_id import whole
from keybroker.cli.times import PAST, format_time

_LOOK_BACK: Final = 86400
"""Seconds before the end that are looked through for a name or a reason, unless --since says otherwise: the broker filters by
neither, so that all of them are read."""


@click.group(invoke_without_command=True, short_help="Show decisions and their reasons.")
@click.option("--request-id", metavar="ID", help="Only this request, by the ID that a refusal shows.")
@click.option("--principal", metavar="SUB", help="Only this principal.")
@click.option("--grant", metavar="NAME", help="Only this grant.")
@click.option("--key", metavar="NAME", help="Only this key.")
@click.option("--kind", metavar="KIND", help="Only this kind: token.issued, token.refused, revocation.made, …")
@click.option("--since", type=PAST, metavar="TIME", help="From this time: 2h, 7d, 2026-11-24.")
@click.option("--until", type=PAST, metavar="TIME", help="Up to this time.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Maximum number of events.")
@click.option("--name", metavar="TEXT", help="Only those whose name contains this. [--since 24h]")
@click.option("--reason", metavar="REASON", help="Only those refused for this reason. [--since 24h]")
@click.option("--follow", "follows", is_flag=True, help="Show events as they come, oldest first, until Ctrl-C.")
@common_options
@click.pass_context
def audit(context: click.Context, /, limit: int, *, follows: bool, **filters: Any) -> None:  # noqa: ANN401  as declared above
    """List events, newest first; --output json prints one JSON object per line, as they arrive."""
    if context.invoked_subcommand is not None:
        return
    settings = context.ensure_object(Settings)
    client, wanted = AdminClient(settings.admin_api_url), {name: filters.pop(name) for name in ("name", "reason")}
    if filters["principal"] and is_short(filters["principal"]):
        filters["principal"] = resolve(client, filters["principal"])
    if filters["request_id"]:
        others = {**filters, "request_id": None}
        filters["request_id"] = whole(client, filters["request_id"], "/admin/audit", others, "request_id")
    if follows:
        _follow(client, settings, filters, wanted)
        return
    if any(wanted.values()) and filters["since"] is None and filters["request_id"] is None:
        filters["since"] = (filters["until"] or int(time.time())) - _LOOK_BACK
        output.message(f"looking from {format_time(filters['since'])} on; --since TIME looks further back")
    # What is filtered here is looked for further back than what the broker filters.
    most = limit if not any(wanted.values()) else None
    found = (one for one in client.items("/admin/audit", filters, most) if _fits(one, wanted))
    none = "no event in the audit" if filters["request_id"] else "none"
    shown = _show(itertools.islice(found, limit), settings, none)
    if filters["request_id"]:
        span = filters["since"], filters["until"]
        shown |= refused_call.show(client, filters["request_id"], span, as_json=settings.json)
        if not shown:
            output.message("unknown request: it may be older, or another installation's")


def _show(events: Iterator[dict[str, Any]], settings: Settings, none: str) -> bool:
    """Show events, and return whether there were any."""
    if settings.json:
        number = 0
        for number, event in enumerate(events, 1):  # noqa: B007  the last one counts
            output.json_line(event)
        return bool(number)
    found = [_row(event) for event in events]
    headings = ("at", "kind", "who", "grant", "key", "why", "request")
    output.rows(headings, found, none)
    return bool(found)


def _follow(client: AdminClient, settings: Settings, filters: dict[str, Any], wanted: dict[str, str | None]) -> None:
    if filters.pop("until") is not None:
        raise CommandError(LOCAL, "--follow has no end: leave out --until")
    since = filters.pop("since")
    for event in follow(client, filters, int(time.time()) if since is None else since):
        if not _fits(event, wanted):
            continue
        if settings.json:
            output.json_line(event)
        else:
            told = (format_time(event["at"]), *map(str, _row(event)[1:]))
            output.data("  ".join(map(plain, told)))
            sys.stdout.flush()


def _fits(event: dict[str, Any], wanted: dict[str, str | None]) -> bool:
    name, reason = wanted["name"], wanted["reason"]
    named = (event["principal_name"] or event["actor"]).lower()
    return (name is None or name.lower() in named) and (reason is None or reason == event["reason"])


audit.add_command(check)
audit.add_command(head)
audit.add_command(export)


@audit.command(context_settings=server.PLAIN, short_help="Remove exported events of a state directory.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def cut(arguments: tuple[str, ...]) -> None:
    """Remove events of a state directory that were exported."""
    server.start("audit", ("cut", *arguments))


def _row(event: dict[str, Any]) -> tuple[object, ...]:
    who = event["actor"] or event["principal_name"] or event["principal"] or event["issuer"] or "-"
    why = event["reason"] or ", ".join(f"{name}={value}" for name, value in event["detail"].items()) or "-"
    why += f" (and {event['repeated']} times more)" if event.get("repeated") else ""
    grant, key = event["grant"] or "-", event["key"] or "-"
    return (shortened.age(event["at"]), event["kind"], who, grant, key, why, event["request_id"])
