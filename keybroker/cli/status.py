"""`keybroker status PRINCIPAL`: in one line, whether a principal is cut off, and what shows it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from keybroker import duration
from keybroker.cli import limit_table, output, usage_series
from keybroker.cli.admin_client import AdminClient, segment
from keybroker.cli.command_error import LOCAL, REFUSED, CommandError
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
    with _proving_nothing():
        sub = resolve(client, principal)
        found = client.get(f"/admin/principals/{segment(sub)}")
        told = _told(client, found)
        if limits:
            told["limits"] = limit_table.read(client, sub, told["grants"], told["at"])
    if settings.json:
        output.as_json(told)
    else:
        # SECURITY: the name is a claim of the principal's (test_a_name_controls_no_terminal).
        output.wrapped(plain(_line(told, found)))
        if limits:
            rows = [(one["grant"], *limit_table.row(one, told["at"])) for one in told["limits"]]
            output.data("")
            output.rows(("grant", *limit_table.HEADINGS), rows, "no limits: it was active under no grant today")
    return REFUSED if told["state"] == "cut off" else 0


@contextlib.contextmanager
def _proving_nothing() -> Iterator[None]:
    """Turn a refusal of the broker's, such as for an id that nobody has, into an error that is not taken for "cut off"."""
    try:
        yield
    except CommandError as error:
        # SECURITY: a misspelt id must not prove to a script that anyone is cut off (test_nobody_is_not_found).
        code = LOCAL if error.code == REFUSED else error.code
        raise CommandError(code, *error.lines, refusal=error.refusal) from None


def _told(client: AdminClient, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of a principal, as JSON has it."""
    going_on = client.get("/admin/now")
    by, in_part = _revocations(client, found, going_on)
    open_to = _open_to(found)
    admitting = found.get("admitting", {}).get("grants")
    shut = not open_to and admitting is not None and not found["live_tokens"]
    return {
        **{name: found[name] for name in ("principal", "name", "issuer")},
        "at": going_on["at"],
        "state": "cut off" if by else "not admitted" if shut else "active",
        "revocations": by,
        "revocations_in_part": in_part,
        "since": calls_since(client, found["principal"], max(one["at"] for one in by), going_on["at"]) if by else None,
        "live_tokens": len(found["live_tokens"]),
        "ended_tokens": found.get("ended_tokens", 0),  # a broker of before does not tell them apart
        "last_seen": max((one["last_seen"] for one in found["today"]["grants"]), default=None),
        "grants": sorted({one["grant"] for one in found["today"]["grants"] if one["grant"]}),
        "admitted_by": None if admitting is None else sorted(one["grant"] for one in admitting),
        "revocation_probes": going_on["revocation_probes"],
    }


def _open_to(found: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return the grants, each with its key, that admit the principal by the policy in force; where that is not known, those of today."""
    admitting = found.get("admitting", {}).get("grants")
    known = found["today"]["grants"] if admitting is None else admitting
    return {(one["grant"], one["key"]) for one in known if one["grant"]}


def _revocations(
    client: AdminClient, found: Mapping[str, Any], going_on: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the revocations in force that cut a principal off, and those of keys and grants that leave it others."""
    blocks = {one["revocation"] for one in found["standing"]["blocks"]} if found["standing"]["blocked"] else set()
    own = []
    for one in client.items("/admin/revocations", {"scope": "principal", "in_force": "true"}) if blocks else ():
        if one["id"] in blocks:
            own.append(one)
            if len(own) == len(blocks):
                break
    open_to = _open_to(found)
    pairs = open_to | {(one["grant"], one["key"]) for one in found["today"]["grants"]}
    ends = {
        "everything": {"*"},
        "issuer": {found["issuer"]},
        "grant": {grant for grant, _ in pairs},
        "key": {key for _, key in pairs},
    }
    wide = [one for one in _frozen(client, going_on["revoked"]) if one["target"] in ends.get(one["scope"], ())]
    # SECURITY: a principal that has another grant or key left is not cut off by the end of one
    # (test_one_grant_of_two_is_not_all).
    gone = {(one["scope"], one["target"]) for one in wide}
    left: list[object] = [one for one in open_to if not gone & {("grant", one[0]), ("key", one[1])}]
    left += found["live_tokens"]
    whole = [one for one in wide if one["scope"] in ("everything", "issuer") or (pairs and not left)]
    shown = ("id", "scope", "target", "reason", "author", "at", "until")
    by = [{name: one[name] for name in shown} for one in (*own, *whole)]
    return by, [{name: one[name] for name in shown} for one in wide if one not in whole]


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
    """Return the line. told: what the command answers in JSON. found: what the broker says of the principal."""
    who = f"{told['name'] or '-'} ({told['principal']})"
    seen = f"seen {_ago(told['last_seen'])}" if told["last_seen"] else "not seen today"
    if told["state"] != "cut off":
        return f"{told['state']}: {who}: {_access(told, found)}; {_this_hour(found)}; {seen}{_left(told)}"
    newest = max(told["revocations"], key=lambda one: one["at"])
    cut = f"cut off: {who}: revoked{_of(newest)} {_by(newest)}"
    return f"{cut}; {_proof(told['since'])}; {seen}{_measured(told['revocation_probes'])}"


def _access(told: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Say what it can call with, or that nothing lets it in any more."""
    ended = told["ended_tokens"]
    if told["state"] == "not admitted":
        version = found["admitting"]["version"]
        tokens = f"; {output.number(ended, 'unexpired token')} refused" if ended else ""
        return f"no grant of policy version {version} admits what it has shown{tokens}"
    more = f" ({ended:,} more unexpired, but refused)" if ended else ""
    unsure = "" if found["complete"] else " (not all were looked at)"
    return f"{output.number(told['live_tokens'], 'token')} alive{more}{unsure}"


def _this_hour(found: Mapping[str, Any]) -> str:
    hour = found["hour"]["grants"]
    refused = sum(sum(one["refused_calls"].values()) for one in hour)
    return f"{output.number(sum(one['calls'] for one in hour), 'call')} this hour, {refused} refused"


def _left(told: Mapping[str, Any]) -> str:
    """Say which grants are left, and what of them is revoked."""
    named = told["grants"]
    if (admitted := told["admitted_by"]) is not None:
        named = [one for one in named if one in admitted] or admitted
    grants = f"; grants {', '.join(named)}" if named and told["state"] == "active" else ""
    partly = "".join(f"; {one['scope']} {one['target']} is revoked {_by(one)}" for one in told["revocations_in_part"])
    return f"{grants}{partly}"


def _of(revocation: Mapping[str, Any]) -> str:
    return "" if revocation["scope"] == "principal" else f" ({revocation['scope']} {revocation['target']})"


def _by(revocation: Mapping[str, Any]) -> str:
    until = f" until {format_time(revocation['until'])}" if revocation["until"] else ""
    author = revocation["author"].rpartition("/")[2]
    return f"{_ago(revocation['at'])}{until} by {author}: {revocation['reason']}"


def _proof(since: Mapping[str, int | None] | None) -> str:
    """Say which calls were admitted and refused since a revocation, as `status.calls_since` returns it."""
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
