"""`keybroker policy history` and `policy show`: which policy was in force when, and who could use a key then."""

from __future__ import annotations

from typing import Any

import click

from keybroker.cli import output, shortened, table
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.cli.settings import Settings, common_options, pass_settings
from keybroker.cli.shortened import Shortened
from keybroker.cli.times import PAST, format_time

AT = click.option("--at", "moment", type=PAST, metavar="TIME", help="As it was then: 2h, 7d, 2026-11-24.")
VERSION = click.option("--version", type=click.IntRange(1), metavar="N", help="That version.")


@click.command(short_help="List the versions of the policy.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Maximum number of versions.")
@common_options
@pass_settings
def history(settings: Settings, limit: int) -> None:
    """List the versions of the policy that are kept, newest first."""
    found = list(AdminClient(settings.admin_api_url).items("/admin/policy/history", {}, limit))
    if settings.json:
        output.as_json(found)
        return
    rows = [
        (one["version"], shortened.age(one["at"]), Shortened(one["author"], one["author"].rpartition("/")[2]))
        for one in found
    ]
    output.rows(("version", "at", "author"), rows)


@click.command(short_help="Show the policy, or who could use a key.")
@AT
@VERSION
@click.option("--key", metavar="NAME", help="Show the grants that open this key instead of the text.")
@click.option("--grant", metavar="NAME", help="Show this grant instead of the text.")
@common_options
@pass_settings
def show(settings: Settings, moment: int | None, version: int | None, key: str | None, grant: str | None) -> None:
    """Show the policy in force, or the one that was; with --key or --grant, whom it admits."""
    client, query = AdminClient(settings.admin_api_url), of_policy(moment, version)
    if key is None and grant is None:
        found = client.get("/admin/policy", query)
        if settings.json:
            output.as_json(found)
            return
        output.message(_which(found))
        output.data(found["text"].removesuffix("\n"))
        return
    found = client.get("/admin/policy/grants", {**query, "key": key, "grant": grant})
    if settings.json:
        output.as_json(found)
        return
    output.message(_which(found))
    _show_grants(found["items"])


def _show_grants(found: list[dict[str, Any]]) -> None:
    """Show whom grants admit: a row each, and on a terminal a record each, where whom it is is never cut short."""
    if output.columns() is None or not found:
        rows = [
            (one["name"], one["key"], one["issuer"], "; ".join(map(_claim, one["claims"])), ", ".join(one["scope"]))
            for one in found
        ]
        output.rows(("grant", "key", "issuer", "claims", "scope"), rows, "no grant")
        return
    for number, one in enumerate(found):
        members = [("grant", [one["name"]]), ("key", [one["key"]]), ("issuer", [one["issuer"]])]
        lists = [("claims", list(map(_claim, one["claims"]))), ("scope", one["scope"])]
        for line in [*([""] if number else []), *table.record([*members, *lists], output.columns())]:
            output.data(line)


def of_policy(moment: int | None, version: int | None) -> dict[str, object]:
    """Return the query that names a policy; raises CommandError for both a time and a version."""
    if moment is not None and version is not None:
        raise CommandError(LOCAL, "--at and --version both name a policy: pass one of them")
    return {"at": moment, "version": version}


def _which(found: dict[str, Any]) -> str:
    since = f", in force since {format_time(found['at'])}, applied by {found['author']}" if found["at"] else ""
    return f"version {found['version']}{since}"


def _claim(one: dict[str, Any]) -> str:
    accepted = (f"contains {value['contains']}" if isinstance(value, dict) else str(value) for value in one["accepted"])
    return f"{'.'.join(one['claim'])}={' or '.join(accepted)}"
