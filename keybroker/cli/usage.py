"""`keybroker usage`: what each principal did under each grant in one minute, hour or day."""

from __future__ import annotations

from typing import Any

import click

from keybroker.cli import output
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.settings import Settings, common_options, pass_settings
from keybroker.cli.times import PAST, format_time


@click.command(short_help="Show who used what, and how much.")
@click.option("--window", type=click.Choice(["minute", "hour", "day"]), default="day", show_default=True)
@click.option("--at", "moment", type=PAST, metavar="TIME", help="A time in the window: 1d, 2026-11-24. [now]")
@click.option("--principal", metavar="SUB", help="Only this principal.")
@click.option("--grant", metavar="NAME", help="Only this grant.")
@click.option("--key", metavar="NAME", help="Only this key.")
@click.option("--models", is_flag=True, help="Show what the models' answers took, where the edge sees them.")
@click.option("--spend", is_flag=True, help="Show what calls took of limits of what models take, and have reserved.")
@common_options
@pass_settings
def usage(
    settings: Settings, /, window: str, moment: int | None, *, models: bool, spend: bool, **filters: str | None
) -> None:
    """Show tokens issued, calls admitted and refusals, by principal and grant; or what models took."""
    query = {"window": window, "at": moment, **filters}
    found = list(AdminClient(settings.admin_api_url).items("/admin/usage", query))
    if settings.json:
        output.as_json(found)
        return
    if models:
        _show_models(found)
        return
    if spend:
        _show_budgets(found)
        return
    headings = ("principal", "name", "grant", "key", "tokens", "calls", "refused tokens", "refused calls", "last seen")
    rows = [
        (
            *(row[name] for name in headings[:2]),
            row["grant"] or "-",
            row["key"] or "-",
            row["tokens"],
            row["calls"],
            output.counts(row["refused_tokens"]) or "-",
            output.counts(row["refused_calls"]) or "-",
            format_time(row["last_seen"]),
        )
        for row in found
    ]
    output.rows(headings, rows)


_NUMBERS = ("answers", "unknown", "input_tokens", "output_tokens", "cached_tokens")


def _show_budgets(found: list[dict[str, Any]]) -> None:
    """Show what was taken of limits of what models take, a row for each that has any."""
    headings = ("principal", "name", "grant", "key", "tokens used", "reserved", "usd used", "reserved")
    rows = [
        (
            *(use[name] or "-" for name in headings[:4]),
            *(one["usage"][name] for name in ("used", "reserved")),
            *(_dollars(one.get("spend"), name) for name in ("used", "reserved")),
        )
        for use in found
        if "usage" in (one := use.get("budgets", {}))
    ]
    output.rows(headings, rows)


def _dollars(spend: dict[str, int] | None, name: str) -> str:
    """Return an amount in dollars, to the millionth; "-" where the grant limits no money."""
    return "-" if spend is None else f"{spend[name] // 1_000_000}.{spend[name] % 1_000_000:06}"


def _show_models(found: list[dict[str, Any]]) -> None:
    """Show the tokens of language models, a row for each model. A broker from before there were any says nothing of them."""
    headings = ("principal", "name", "grant", "key", "model", *(one.replace("_", " ") for one in _NUMBERS))
    rows = [
        (
            *(use[name] or "-" for name in headings[:4]),
            model["model"] or "-",
            *(model[name] for name in _NUMBERS),
        )
        for use in found
        for model in use.get("models", ())
    ]
    output.rows(headings, rows)
