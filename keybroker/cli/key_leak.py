"""After a key leaked: who used it through the broker, since when, and what is left to do at the provider."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keybroker.cli import output, shortened
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.key_pages import page
from keybroker.cli.rotated import BY_HAND
from keybroker.cli.times import format_time

_KEPT_SECONDS: Final = 34 * 86400
"""How far back counters of days are sure to reach."""
_OF_A_DAY: Final = 1000
"""Callers of one day that are read at most."""
_SHOWN: Final = 20


@dataclass(frozen=True)
class Used:
    """Who used a key. rows: one for each principal and grant, most calls first. whole: whether all were read. since: epoch seconds."""

    rows: Sequence[Mapping[str, Any]]
    whole: bool
    since: int


def used(client: AdminClient, before: Mapping[str, Any]) -> Used:
    """Return who used a key since its value was set, in 34 days at most. before: the key until then. Raises CommandError."""
    name, now = before["name"], int(time.time())
    # Of one that is being replaced already the value in force may be the new one.
    since = now - _KEPT_SECONDS if before["rotation"] else max(before["at"] or now, now - _KEPT_SECONDS)
    series = client.get("/admin/usage", {"series": "day", "since": since, "key": name})
    rows, whole = dict[tuple[str, str], dict[str, Any]](), bool(series["complete"])
    for day in series["items"]:
        if not day["principals"]:
            continue
        query = {"window": "day", "at": day["start"], "key": name}
        found = list(client.items("/admin/usage", query, _OF_A_DAY))
        whole = whole and len(found) < _OF_A_DAY
        for use in found:
            _add(rows, use, day["start"])
    return Used(sorted(rows.values(), key=lambda one: (-one["calls"], one["principal"])), whole, since)


def _add(rows: dict[tuple[str, str], dict[str, Any]], use: Mapping[str, Any], day: int) -> None:
    told = {name: use[name] for name in ("principal", "name", "grant")}
    row = rows.setdefault((use["principal"], use["grant"]), {**told, "calls": 0, "since": day, "last_seen": 0})
    row["calls"] += use["calls"]
    row["last_seen"] = max(row["last_seen"], use["last_seen"])


def show(found: Used, before: Mapping[str, Any], deleted: Sequence[str]) -> None:
    """Show it. before: the key that leaked. deleted: what ended at the provider, as `rotated.retired` has it."""
    name, where = before["name"], page(before["provider"])
    output.message(f"who used {name} through the broker since {format_time(found.since)}:")
    ids = shortened.principals({one["principal"] for one in found.rows})
    output.rows(
        ("name", "principal", "grant", "calls", "since", "seen"),
        [
            (
                one["name"] or "-",
                ids[one["principal"]],
                one["grant"],
                one["calls"],
                _day(one["since"]),
                shortened.age(one["last_seen"]),
            )
            for one in found.rows[:_SHOWN]
        ],
        none="nobody",
    )
    if len(found.rows) > _SHOWN:
        output.message(f"{len(found.rows) - _SHOWN} more: with --output json, or keybroker usage --key {name}")
    if not found.whole:
        output.labelled("warning", "not everything was read: there may be others, and more calls")
    output.message("what the provider's own log has beside these calls was not yours: look there, and at the bill")
    if before["version"] and (BY_HAND in deleted or not deleted):
        output.labelled("warning", f"the key that leaked still works at the provider: delete it NOW at {where}")
    output.message("no token was ended, and none has to be: no token holds the key")


def _day(at: int) -> str:
    return format_time(at)[:10]
