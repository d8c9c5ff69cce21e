"""`keybroker audit …`: what the broker decided and why, newest first."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from keybroker.cli import output, refused_call, server, shortened, table
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.audit_check import check, head
from keybroker.cli.audit_export import export
from keybroker.cli.audit_follow import follow
from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.cli.plain_text import plain
from keybroker.cli.principal_id import is_short, resolve
from keybroker.cli.settings import Settings, common_options
from keybroker.cli.shortened import Shortened
from keybroker.cli.shown_id import whole
from keybroker.cli.table import Fit
from keybroker.cli.times import PAST, format_time

_LOOK_BACK: Final = 86400
"""Seconds before the end that are looked through for a name or a reason, unless --since says otherwise: the broker filters by
neither, so that all of them are read."""
_HEADINGS: Final = ("at", "kind", "who", "grant", "key", "why", "request")
_WIDE: Final = 120
"""Columns of a terminal from which all of them are shown; a narrower one has the key where there is no grant, and no request."""
_FIT: Final = Fit(keep={"kind": 15, "why": 36}, ends=("why",))
_UNTOLD: Final = ("kid", "epochs")
"""What an issuance notes for the broker's own use."""
_WIDTHS: Final = {"at": 5, "kind": 15, "who": 10, "grant": 8, "key": 10, "request": 9}
"""Of the lines that come one by one; the reason has the rest."""


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
    number = 0
    if settings.json:
        for number, event in enumerate(events, 1):  # noqa: B007  the last one counts
            output.json_line(event)
        return bool(number)
    found = [_cells(event) for event in events]
    headings = _headings(output.columns())
    output.rows(headings, [[one[name] for name in headings] for one in found], none, _FIT)
    return bool(found)


def _follow(client: AdminClient, settings: Settings, filters: dict[str, Any], wanted: dict[str, str | None]) -> None:
    if filters.pop("until") is not None:
        raise CommandError(LOCAL, "--follow has no end: leave out --until")
    since = filters.pop("since")
    events = follow(client, filters, int(time.time()) if since is None else since)
    for number, event in enumerate(one for one in events if _fits(one, wanted)):
        if settings.json:
            output.json_line(event)
        else:
            _show_next(event, first=not number)


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


def _show_next(event: Mapping[str, Any], *, first: bool) -> None:
    """Show one more event: whole, or on a terminal one line as in the table. first: below the headings."""
    columns, cells = output.columns(), _cells(event)
    if columns is None:
        told = {**cells, "at": format_time(event["at"])}
        output.data("  ".join(plain(told[name]) for name in _HEADINGS))
    else:
        headings = _headings(columns)
        taken = sum(_WIDTHS.get(name, 0) for name in headings) + 2 * (len(headings) - 1)
        widths = [_WIDTHS.get(name, max(8, columns - taken)) for name in headings]
        cells["at"] = time.strftime("%H:%M", time.gmtime(event["at"]))
        ends = [headings.index("why")]
        if first:
            output.data(table.row([name.upper() for name in headings], widths, ends=ends))
        output.data(table.row([cells[name] for name in headings], widths, ends=ends))
    sys.stdout.flush()


def _headings(columns: int | None) -> tuple[str, ...]:
    left_out = () if columns is None or columns >= _WIDE else ("key", "request")
    return tuple(name for name in _HEADINGS if name not in left_out)


def _cells(event: Mapping[str, Any]) -> dict[str, object]:
    grant, key = event["grant"] or "-", event["key"] or "-"
    without_key = "key" not in _headings(output.columns())
    return {
        "at": shortened.age(event["at"]),
        "kind": event["kind"],
        "who": _who(event),
        "grant": f"key {key}" if without_key and grant == "-" != key else grant,
        "key": key,
        "why": _why(event),
        "request": event["request_id"],
    }


def _who(event: Mapping[str, Any]) -> object:
    who = event["actor"] or event["principal_name"] or event["principal"] or event["issuer"] or "-"
    if who.startswith("arn:"):
        return Shortened(who, who.rpartition("/")[2])
    return Shortened(who, shortened.without_issuer(who)) if "|" in who else who


def _why(event: Mapping[str, Any]) -> object:
    """Return why: the reason, or what was changed. Whom a revocation concerned comes first, its own id last."""
    again = f" (and {event['repeated']} times more)" if event.get("repeated") else ""
    told = {
        name: value for name, value in event["detail"].items() if name not in _UNTOLD or event["kind"] != "token.issued"
    }
    if event["reason"] or not told:
        return (event["reason"] or "-") + again
    if {"scope", "target", "why", "revocation"} <= told.keys():
        target = told["target"]
        short = shortened.without_issuer(target) if told["scope"] == "principal" else target
        full = f"{told['scope']} {target}: {told['why']} (revocation {told['revocation']})"
        return Shortened(full, f"{told['scope']} {short}: {told['why']}")
    return ", ".join(f"{name}={value}" for name, value in told.items()) + again
