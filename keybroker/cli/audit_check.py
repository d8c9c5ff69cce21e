"""`keybroker audit check|head`: whether the audit is complete, and as it was written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from keybroker.cli import output, server
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.cli.settings import Settings, common_options, pass_settings
from keybroker.cli.times import PAST, format_time

_HEAD = re.compile(r"(\d{1,15}):([0-9a-f]{64})", re.ASCII)
_SHOWN = 100
"""Faults that are shown at most."""


@dataclass
class _Found:
    """What the chain says. faults: _SHOWN at most."""

    links: int = 0
    events: int = 0
    unchained: int = 0
    faults: list[Mapping[str, Any]] = field(default_factory=list)
    more: bool = False


@click.command()
@click.option("--window", type=click.Choice(["hour", "day"]), default="day", show_default=True)
@click.option("--start", type=PAST, metavar="TIME", help="When the window began. [the last complete one]")
@click.option("--head", metavar="HEAD", help="A head that `audit head` printed, or a file with one: is it still part of the history?")  # fmt: skip
@common_options
@pass_settings
def check(settings: Settings, window: str, start: int | None, head: str | None) -> int:
    """Check that no event was changed, removed or inserted, and that each counted token has one; exits with 1 if not."""
    published = _published(head) if head else None
    client = AdminClient(settings.admin_api_url)
    counted = client.get("/admin/audit/check", {"window": window, "start": start})
    found = _chain(client)
    compared = _compared(client, published) if published else ""
    if settings.json:
        chain = {"links": found.links, "events": found.events, "unchained": found.unchained, "items": found.faults}
        output.as_json({**counted, "chain": {**chain, "more": found.more, **({"head": compared} if head else {})}})
    else:
        _show(counted, found, compared)
    return 0 if counted["agree"] and not found.faults and compared in ("", "same") else 1


@click.command(context_settings=server.PLAIN, short_help="Print the newest link of the audit's chain, to be published.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def head(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Print the head: over the administration API, or with --state of a state directory."""
    if any(one == "--state" or one.startswith("--state=") for one in arguments):
        server.start("audit", ("head", *arguments))
        return
    with _head.make_context(context.info_name, list(arguments), parent=context.parent) as inner:
        _head.invoke(inner)


@click.command("head", context_settings={"help_option_names": ["-h", "--help"]})
@common_options
@pass_settings
def _head(settings: Settings) -> None:
    """Print the newest link of the audit's chain as one line of JSON.

    Keep it where nobody who can write the audit can: in git, in a bucket with Object Lock, in a mail.
    `audit check --head FILE` finds out later whether the history up to it is still the same.
    """
    found = AdminClient(settings.admin_api_url).get("/admin/audit/head")
    if not found["hash"]:
        raise CommandError(LOCAL, "there is no chain yet", "on AWS it is sealed by a function: docs/operate.md")
    output.json_line({name: found[name] for name in ("seq", "hash", "at")})


def _published(head: str) -> tuple[int, str]:
    """Read a head: `SEQ:HASH`, JSON as `audit head` prints it, or the last line of a file with either."""
    path = Path(head)
    try:
        text = path.read_text(encoding="utf-8").strip().splitlines()[-1] if path.is_file() else head.strip()
        if match := _HEAD.fullmatch(text):
            return int(match[1]), match[2]
        found = json.loads(text)
        if match := _HEAD.fullmatch(f"{found['seq']}:{found['hash']}"):
            return int(match[1]), match[2]
    except (OSError, ValueError, LookupError, TypeError):
        pass
    raise CommandError(LOCAL, f"not a head: {head[:200]!r}; give what `audit head` printed, or a file with it")


def _chain(client: AdminClient) -> _Found:
    found = _Found()
    for page in _pages(client):
        found.links += page["links"]
        found.events += page["events"]
        found.unchained += page["unchained"]
        found.faults += page["items"]
        if len(found.faults) > _SHOWN:
            found.faults, found.more = found.faults[:_SHOWN], True
            break
    return found


def _pages(client: AdminClient) -> Iterator[Any]:
    after: str | None = ""
    while after is not None:
        page = client.get("/admin/audit/chain", {"after": after} if after else {})
        yield page
        after = page["next"]


def _compared(client: AdminClient, published: tuple[int, str]) -> str:
    """Return `same`, or what became of a published head: `other`, `cut` or `truncated`."""
    seq, wanted = published
    found = client.get("/admin/audit/head", {"seq": seq})
    if found["hash"] == wanted:
        return "same"
    if found["hash"]:
        return "other"
    return "cut" if seq < found["kept_from"] else "truncated"


_HEADS = {
    "same": "the history up to it is the one that it was made of",
    "other": "the history up to it is ANOTHER one",
    "cut": "the events up to it were cut, so it cannot be compared",
    "truncated": "there are FEWER events now than when it was made",
}


def _show(counted: Mapping[str, Any], found: _Found, compared: str) -> None:
    times = [(name, format_time(counted[name])) for name in ("start", "end")]
    counts = (("events", counted["issued_events"]), ("counted", counted["counted"]))
    flags = ((name, "yes" if counted[name] else "no") for name in ("complete", "agree"))
    unchained = f", {found.unchained} from before it" if found.unchained else ""
    told = f"{found.events} events in {found.links} links{unchained}" if found.links else "none"
    chain = (
        [("chain", told), ("unbroken", "no" if found.faults else "yes")]
        if found.links or found.faults
        else [("chain", told)]
    )
    output.members([*times, *counts, *flags, *chain, *([("head", _HEADS[compared])] if compared else [])])
    if counted["differing"]:
        headings = ("principal", "grant", "events", "counted")
        output.rows(headings, [tuple(row[name] for name in headings) for row in counted["differing"]])
    if found.faults:
        rows = [(one["what"], one["seq"], one["id"] or "-", format_time(one["at"]) or "-") for one in found.faults]
        output.rows(("what", "link", "event", "at"), rows)
    if found.more:
        output.message(f"there are more than these {_SHOWN}")
