"""`keybroker audit …`: what was decided and why, newest first."""

from __future__ import annotations

from typing import Any

import click

from keybroker.cli import output, place, when
from keybroker.cli.administration import Administration
from keybroker.cli.place import Place


@click.group(invoke_without_command=True, short_help="Show what was decided, and why.")
@click.option("--request-id", metavar="ID", help="Only of this request: the one that a refusal names.")
@click.option("--principal", metavar="SUB", help="Only of this principal.")
@click.option("--grant", metavar="NAME", help="Only under this grant.")
@click.option("--key", metavar="NAME", help="Only for this key.")
@click.option("--kind", metavar="KIND", help="Only of this kind: token.issued, token.refused, revocation.made, …")
@click.option("--since", type=when.PAST, metavar="TIME", help="From this time on: 2h, 7d, 2026-11-24.")
@click.option("--until", type=when.PAST, metavar="TIME", help="Up to this time.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Events at most.")
@place.options
@click.pass_context
def audit(context: click.Context, /, limit: int, **wanted: object) -> None:
    """List events, newest first; with --output json one JSON object a line, as they come."""
    if context.invoked_subcommand is not None:
        return
    at = context.ensure_object(Place)
    found = Administration(at.administration).items("/admin/audit", wanted, limit)
    if at.json:
        for one in found:
            output.json_line(one)
        return
    headings = ("at", "kind", "who", "grant", "key", "why", "request")
    output.rows(headings, [_row(one) for one in found])


@audit.command()
@click.option("--window", type=click.Choice(["hour", "day"]), default="day", show_default=True)
@click.option("--start", type=when.PAST, metavar="TIME", help="When the window began. [the newest that is over]")
@place.options
@place.passed
def check(at: Place, window: str, start: int | None) -> int:
    """Compare: is there one event for each token that was counted? Ends with 1 if not."""
    said = Administration(at.administration).get("/admin/audit/check", {"window": window, "start": start})
    if at.json:
        output.as_json(said)
    else:
        names = ("start", "end")
        times = [(name, when.shown(said[name])) for name in names]
        counts = (("events", said["issued_events"]), ("counted", said["counted"]))
        output.members([*times, *counts, *((name, "yes" if said[name] else "no") for name in ("complete", "agree"))])
        if said["differing"]:
            headings = ("principal", "grant", "events", "counted")
            output.rows(headings, [tuple(one[name] for name in headings) for one in said["differing"]])
    return 0 if said["agree"] else 1


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    who = one["actor"] or one["principal_name"] or one["principal"] or "-"
    why = one["reason"] or ", ".join(f"{name}={value}" for name, value in one["detail"].items()) or "-"
    return (when.shown(one["at"]), one["kind"], who, one["grant"] or "-", one["key"] or "-", why, one["request_id"])
