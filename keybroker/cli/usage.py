"""`keybroker usage`: what each principal did under each grant in one minute, hour or day; or one window after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from keybroker.cli import output, shortened, usage_series, usage_tables
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.cli.own_usage import OwnUsage
from keybroker.cli.principal_id import resolve
from keybroker.cli.settings import Settings, common_options, pass_settings
from keybroker.cli.times import PAST
from keybroker.cli.watching import shown, watch_option

_SORTS: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
    "calls": lambda use: (-use["calls"], -usage_tables.refused(use)),
    "refused": lambda use: (-usage_tables.refused(use), -use["calls"]),
    "tokens": lambda use: (-use["tokens"], -use["calls"]),
    "seen": lambda use: -use["last_seen"],
    "name": lambda use: (use["name"], use["principal"], use["grant"]),
}

_OF_ROWS: Final = ("moment", "models", "spend", "name", "reason", "sort", "top")
"""Options that make no sense of sums: unsaid, everybody's would be taken for those of some."""


@click.command(short_help="Show who used what, and how much.")
@click.option("--mine", is_flag=True, help="Only one's own, with one's own token for --key [KEYBROKER_KEY].")
@click.option("--window", type=click.Choice(["minute", "hour", "day"]), default=None, help="[day]")
@click.option("--at", "moment", type=PAST, metavar="TIME", help="A time in the window: 1d, 2026-11-24. [now]")
@click.option(
    "--since", type=PAST, metavar="TIME", help="Sums of one window after the other, from this time: 30m, 6h, 14d."
)
@click.option("--until", type=PAST, metavar="TIME", help="Up to this time. [now]")
@click.option("--principal", metavar="SUB", help="Only this principal, by its id, its name or the end of its id.")
@click.option("--grant", metavar="NAME", help="Only this grant.")
@click.option("--key", metavar="NAME", help="Only this key.")
@click.option("--name", metavar="TEXT", help="Only those whose name contains this.")
@click.option("--reason", metavar="REASON", help="Only those of whom something was refused for this reason.")
@click.option("--sort", type=click.Choice(list(_SORTS)), help="Which come first. [calls]")
@click.option("--top", type=click.IntRange(1, 200), metavar="N", help="Only the first N.")
@watch_option
@click.option("--models", is_flag=True, help="Show what the models' answers took, where the edge sees them.")
@click.option("--spend", is_flag=True, help="Show what calls took of limits of what models take, and have reserved.")
@common_options
@pass_settings
def usage(settings: Settings, /, watch: int | None, **options: Any) -> None:  # noqa: ANN401  as declared above
    """Show calls admitted, tokens issued and refusals, by principal and grant; or what models took."""
    if options.pop("mine"):
        shown(settings, watch, OwnUsage(settings, options).show)
        return
    if options["since"] is None and options["until"] is not None:
        raise CommandError(LOCAL, "--until needs --since")
    if options["since"] is not None and any(options[name] not in (None, False) for name in _OF_ROWS):
        of_rows = "--at, --models, --spend, --name, --reason, --sort and --top are of one window's callers"
        raise CommandError(
            LOCAL, f"--since shows sums: {of_rows}", "--principal, --grant and --key choose what is summed"
        )
    client = AdminClient(settings.admin_api_url)
    if options["principal"]:
        options["principal"] = resolve(client, options["principal"])
    shown(settings, watch, lambda: _show(client, settings, options))


def _show(client: AdminClient, settings: Settings, options: dict[str, Any]) -> None:
    if options["since"] is not None:
        usage_series.show(client, settings, options)
        return
    named = {name: options[name] for name in ("principal", "grant", "key")}
    found = list(client.items("/admin/usage", {"window": options["window"] or "day", "at": options["moment"], **named}))
    found = sorted((one for one in found if _fits(one, options)), key=_SORTS[options["sort"] or "calls"])[
        : options["top"]
    ]
    if settings.json:
        output.as_json(found, line=settings.lines)
    elif options["models"]:
        usage_tables.models(found)
    elif options["spend"]:
        usage_tables.budgets(found)
    else:
        usage_tables.uses(found, shortened.principals({one["principal"] for one in found}))


def _fits(use: dict[str, Any], options: dict[str, Any]) -> bool:
    name, reason = options["name"], options["reason"]
    reasons = {*use["refused_tokens"], *use["refused_calls"]}
    return (name is None or name.lower() in use["name"].lower()) and (reason is None or reason in reasons)
