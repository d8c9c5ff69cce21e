"""`keybroker usage`: what each principal did under each grant in one minute, hour or day."""

from __future__ import annotations

import click

from keybroker.cli import output, place, when
from keybroker.cli.administration import Administration
from keybroker.cli.place import Place


@click.command(short_help="Show who used what, and how much.")
@click.option("--window", type=click.Choice(["minute", "hour", "day"]), default="day", show_default=True)
@click.option("--at", "moment", type=when.PAST, metavar="TIME", help="A time in the window: 1d, 2026-11-24. [now]")
@click.option("--principal", metavar="SUB", help="Only this principal.")
@click.option("--grant", metavar="NAME", help="Only under this grant.")
@click.option("--key", metavar="NAME", help="Only for this key.")
@place.options
@place.passed
def usage(at: Place, /, window: str, moment: int | None, **wanted: str | None) -> None:
    """Show tokens issued, calls admitted, and refusals, by principal and grant."""
    query = {"window": window, "at": moment, **wanted}
    found = list(Administration(at.administration).items("/admin/usage", query))
    if at.json:
        output.as_json(found)
        return
    headings = ("principal", "name", "grant", "key", "tokens", "calls", "refused tokens", "refused calls", "last seen")
    rows = [
        (
            *(one[name] for name in headings[:2]),
            one["grant"] or "-",
            one["key"] or "-",
            one["tokens"],
            one["calls"],
            output.counts(one["refused_tokens"]) or "-",
            output.counts(one["refused_calls"]) or "-",
            when.shown(one["last_seen"]),
        )
        for one in found
    ]
    output.rows(headings, rows)
