"""`keybroker status PRINCIPAL`: in one line, whether a principal is cut off, and what shows it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from keybroker import duration
from keybroker.cli import limit_table, output, usage_series
from keybroker.cli.admin_client import AdminClient, segment
from keybroker.cli.command_error import REFUSED
from keybroker.cli.id_command import IdCommand
from keybroker.cli.plain_text import plain
from keybroker.cli.principal_id import resolve
from keybroker.cli.settings import Settings, common_options, pass_settings
from keybroker.cli.times import format_time


@click.command(cls=IdCommand, short_help="Prove in one line whether a principal is cut off.")
@click.argument("principal", metavar="PRINCIPAL")
@click.option("--limits", is_flag=True, help="Show how each limit of its grants stands, too.")
@common_options
@pass_settings
def status(settings: Settings, principal: str, limits: bool) -> int:  # noqa: FBT001  a flag
    """Say whether a principal is cut off, since when and by whom, and what it has done since; exits with 3 if it is.

    PRINCIPAL is an id, a name, or the end of an id as `keybroker principals` shows it.
    """
    client = AdminClient(settings.admin_api_url)
    sub = resolve(client, principal)
    found = client.get(f"/admin/principals/{segment(sub)}")
    going_on = client.get("/admin/now")
    by = _revocations(client, found, going_on)
    told = {
        **{name: found[name] for name in ("principal", "name", "issuer")},
        "state": "cut off" if by else "active",
        "revocations": by,
        "since": calls_since(client, sub, max(one["at"] for one in by), going_on["at"]) if by else None,
        "live_tokens": len(found["live_tokens"]),
        "last_seen": max((one["last_seen"] for one in found["today"]["grants"]), default=None),
        "grants": sorted({one["grant"] for one in found["today"]["grants"] if one["grant"]}),
        "revocation_probes": going_on["revocation_probes"],
    }
    if limits:
        told["limits"] = limit_table.read(client, sub, told["grants"], going_on["at"])
    if settings.json:
        output.as_json(told)
    else:
        # SECURITY: the name is a claim of the principal's (test_a_name_controls_no_terminal).
        output.data(plain(_line(told, found)))
        if limits:
            rows = [(one["grant"], *limit_table.row(one, going_on["at"])) for one in told["limits"]]
            output.data("")
            output.rows(("grant", *limit_table.HEADINGS), rows, "no limits: it was active under no grant today")
    return REFUSED if by else 0


def _revocations(client: AdminClient, found: Mapping[str, Any], going_on: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the revocations in force that cut a principal off: its own, and those of what its grants need."""
    blocks = {one["revocation"] for one in found["standing"]["blocks"]} if found["standing"]["blocked"] else set()
    own = []
    for one in client.items("/admin/revocations", {"scope": "principal", "in_force": "true"}) if blocks else ():
        if one["id"] in blocks:
            own.append(one)
            if len(own) == len(blocks):
                break
    used = found["today"]["grants"]
    ends = {
        "everything": {"*"},
        "issuer": {found["issuer"]},
        **{scope: {one[scope] for one in used} for scope in ("key", "grant")},
    }
    wide = [one for one in _frozen(client, going_on["revoked"]) if one["target"] in ends.get(one["scope"], ())]
    # SECURITY: a principal that has another grant or key left is not cut off by the end of one
    # (test_one_grant_of_two_is_not_all).
    gone = {(one["scope"], one["target"]) for one in wide}
    left = [one for one in used if not gone & {("key", one["key"]), ("grant", one["grant"])}]
    whole = [one for one in wide if one["scope"] in ("everything", "issuer") or not left]
    shown = ("id", "scope", "target", "reason", "author", "at", "until")
    return [{name: one[name] for name in shown} for one in (*own, *whole)]


def _frozen(client: AdminClient, revoked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the wide revocations in force, all of them."""
    if revoked["complete"]:
        return list(revoked["frozen"])
    # SECURITY: a list in part would call a principal active that is cut off (test_a_list_in_part_is_read_whole).
    scopes = ("everything", "issuer", "key", "grant")
    return [one for scope in scopes for one in client.items("/admin/revocations", {"scope": scope, "in_force": "true"})]


def calls_since(client: AdminClient, sub: str, at: int, now: int) -> dict[str, int | None] | None:
    """Return what was admitted and refused in the windows that began after a revocation; None where those are gone.

    calls_admitted: None until the first such window begins, since nothing is known of it before.

    now: by the broker's clock, as all its times are.
    """
    window = usage_series.shortest_window(now - at)
    if window is None:
        return None
    length = usage_series.SECONDS[window]
    first = at - at % length
    items = client.get("/admin/usage", {"series": window, "since": first, "until": now, "principal": sub})["items"]
    later = [one for one in items if one["start"] > first]
    refused = sum(
        number
        for one in items
        for reason, number in one["refused_calls"].items()
        if reason.startswith(("revoked", "stale"))
    )
    admitted = sum(one["calls"] for one in later) if now >= first + length else None
    return {"from": first + length, "calls_admitted": admitted, "calls_refused": refused}


def _line(told: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    name = told["name"] or "-"
    who = f"{name} ({told['principal']})"
    tokens = f"{output.number(told['live_tokens'], 'token')} alive"
    seen = f"seen {_ago(told['last_seen'])}" if told["last_seen"] else "not seen today"
    if not told["revocations"]:
        hour = found["hour"]["grants"]
        calls = sum(one["calls"] for one in hour)
        refused = sum(sum(one["refused_calls"].values()) for one in hour)
        grants = f"; grants {', '.join(told['grants'])}" if told["grants"] else ""
        return f"active: {who}: {tokens}; {output.number(calls, 'call')} this hour, {refused} refused; {seen}{grants}"
    newest = max(told["revocations"], key=lambda one: one["at"])
    of = "" if newest["scope"] == "principal" else f" ({newest['scope']} {newest['target']})"
    until = f" until {format_time(newest['until'])}" if newest["until"] else ""
    author = newest["author"].rpartition("/")[2]
    cut = f"cut off: {who}: revoked{of} {_ago(newest['at'])}{until} by {author}: {newest['reason']}"
    return f"{cut}; {_proof(told['since'])}; {seen}{_measured(told['revocation_probes'])}"


def _proof(since: Mapping[str, int | None] | None) -> str:
    if since is None:
        return "so long ago that its calls since are not counted any more"
    if since["calls_admitted"] is None:
        return f"calls since: {since['calls_refused']} refused; those admitted are told from {format_time(since['from'])} on"
    return f"calls since: {since['calls_admitted']} admitted, {since['calls_refused']} refused"


def _measured(probes: list[dict[str, Any]]) -> str:
    """Say how long a revocation took when that was last measured, the longest of all places."""
    known = [one for one in probes if one["seconds"] is not None]
    if not known:
        return ""
    slowest = max(known, key=lambda one: one["seconds"])
    return f"; a revocation held after {slowest['seconds'] * 1000:.0f} ms when last measured, {_ago(slowest['at'])}"


def _ago(at: int) -> str:
    return f"{duration.words(max(0, int(time.time()) - at))} ago"
