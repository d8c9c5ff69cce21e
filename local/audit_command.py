"""`python -m local audit …`: exports the audit of a state directory, compares it with the counters, or cuts it.

stdout is for data: events as JSON lines, newest first, or one JSON object. Exit codes: 0 success, 1 an error, or the audit
and the counters differ. An export is an event itself, by which `cut` knows what may go.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chalicelib.admin import completeness, paging
from chalicelib.audit import Query
from chalicelib.errors import Unavailable
from local.machine import Machine
from local.sqlite import shrink, sweep
from local.sqlite.ledger import SqliteLedger
from local.sqlite.state_file import PATIENT_MS

CUT_AFTER = 7 * 86400
"""Seconds that an event stays at least."""
_ALL_PAGES = sys.maxsize
_AGO = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_to(commands: Any) -> None:  # noqa: ANN401  argparse has no public name for this type
    """Add the commands to a parser."""
    parser = commands.add_parser("audit", help="export the audit of a state directory, check it, or cut it")
    verbs = parser.add_subparsers(dest="verb", required=True)
    export = verbs.add_parser("export", help="print events as JSON lines, newest first")
    export.add_argument(
        "--since",
        type=_time,
        default=0,
        metavar="TIME",
        help="first time to include: 2h, 7d, 2026-11-24, or epoch seconds",
    )
    export.add_argument("--until", type=_time, default=2**53, metavar="TIME", help="end of the time range (exclusive)")
    check = verbs.add_parser("check", help="check that events are as they were written, one for each counted token")
    check.add_argument("--window", choices=("hour", "day"), default="day", help="window to check (default: day)")
    check.add_argument(
        "--start",
        type=_time,
        metavar="TIME",
        help="any time in the window (default: the last complete one)",
    )
    cut = verbs.add_parser("cut", help="remove events that were exported; the file shrinks")
    cut.add_argument(
        "--before",
        type=_time,
        required=True,
        metavar="TIME",
        help="end of what goes (exclusive), such as 90d; 7 days ago or earlier",
    )
    cut.add_argument("--not-exported", action="store_true", help="remove also what was never exported")
    head = verbs.add_parser("head", help="print the newest link of the chain, to be published")
    for verb in (export, check, cut, head):
        verb.add_argument("--state", type=Path, required=True, metavar="DIR")


def run(options: argparse.Namespace) -> int:
    """Run one command and return its exit code."""
    try:
        matches = {"export": _export, "check": _check, "cut": _cut, "head": _head}[options.verb](options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe, as in `… | head`; otherwise Python would report it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Unavailable as fault:
        hint = f" ({fault.hint})" if fault.hint else ""
        return _fail(f"cannot use the state directory: {fault.reason}{hint}")
    except (OSError, ValueError) as fault:
        return _fail(str(fault))
    return 0 if matches else _fail("the audit and the counters differ")


def _export(options: argparse.Namespace) -> bool:
    machine, until = Machine.open(options.state), min(options.until, int(time.time()))
    query = Query(since=options.since, until=options.until)
    for page in paging.events(machine.ledger(), query, _ALL_PAGES):
        sys.stdout.writelines(json.dumps(event.to_json()) + "\n" for event in page.events)
    sys.stdout.flush()
    if options.since < until:  # events of this second may still come
        detail = {"since": str(options.since), "until": str(until)}
        machine.ledger().record(machine.event("audit.exported", detail))
    return True


def _cut(options: argparse.Namespace) -> bool:
    machine = Machine.open(options.state)
    if options.before > time.time() - CUT_AFTER:
        raise ValueError(
            "--before must be 7 days ago or earlier: `audit check` compares what is younger with the counters"
        )
    exported = _exported_until(machine)
    # SECURITY: what is nowhere else is not removed by a mistake (test_what_was_not_exported_stays).
    if options.before > exported and not options.not_exported:
        from_then = f"from {exported} on" if exported else "yet"
        raise ValueError(f"events were not exported {from_then}: export them first, or say --not-exported")
    machine.ledger().record(machine.event("audit.cut", {"before": str(options.before), "exported": str(exported)}))
    state = machine.state_file()
    removed = sum(sweep.cut_audit(state, options.before, int(time.time())))
    for _ in shrink.shrink(state, wait_ms=PATIENT_MS):
        pass
    state.checkpoint()  # which is what makes the file shorter
    if not shrink.shrinks(state):
        text = "the file stays as large: an older Keybroker made it; stop the server, and run `state compact` once"
        sys.stderr.write(f"warning: {text}\n")
    found = {"removed": removed, "before": options.before, "bytes": state.path.stat().st_size}
    sys.stdout.write(json.dumps(found) + "\n")
    return True


def _exported_until(machine: Machine) -> int:
    """Return the time before which every event was exported, or cut."""
    ledger = machine.ledger()

    def details(kind: str) -> list[Mapping[str, str]]:
        pages = paging.events(ledger, Query({"kind": kind}), _ALL_PAGES)
        return [event.detail for page in pages for event in page.events][::-1]

    until = max((int(one["before"]) for one in details("audit.cut")), default=0)
    for one in details("audit.exported"):
        if int(one["since"]) <= until:
            until = max(until, int(one["until"]))
    return until


def _check(options: argparse.Namespace) -> bool:
    machine, now = Machine.open(options.state), int(time.time())
    span = completeness.Span.containing(options.window, options.start, now)
    everything = completeness.Bounds(pages=_ALL_PAGES, events=2**62)
    found = completeness.check(span, machine.ledger(), machine.usage(), now, everything)
    chain = _chain(machine.ledger())
    sys.stdout.write(json.dumps({**found.to_json(), "chain": chain}, indent=2) + "\n")
    if chain["items"]:
        raise ValueError("events were changed, removed or inserted")
    return found.agree


def _chain(ledger: SqliteLedger) -> dict[str, Any]:
    """Return what the chain of hashes says, with the faults of its first faulty part."""
    counts: Counter[str] = Counter(links=0, events=0, unchained=0)
    after: str | None = ""
    while after is not None:
        page = ledger.check_chain(after).to_json()
        counts.update({name: page[name] for name in counts})
        after = None if page["items"] else page["next"]
    return {**counts, "items": page["items"]}


def _head(options: argparse.Namespace) -> bool:
    head = Machine.open(options.state).ledger().head(None)
    sys.stdout.write(json.dumps({"seq": head.seq, "hash": head.hash, "at": head.at}) + "\n")
    return True


def _fail(text: str) -> int:
    sys.stderr.write(f"error: {text}\n")
    return 1


def _time(text: str) -> int:
    """Read epoch seconds, how long ago (`90d`, `2h`), or a date, which is in UTC without an offset."""
    if text.isascii() and text.isdecimal() and len(text) <= 11:
        return int(text)
    if match := _AGO.fullmatch(text):
        return max(0, int(time.time()) - int(match[1]) * _UNITS[match[2]])
    try:
        parsed = datetime.fromisoformat(text if "-" in text[1:] else "")
        return max(0, int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()))
    except ValueError:
        allowed = "a time in whole seconds since 1970, how long ago (7d, 2h), or a date (2026-11-24)"
        raise argparse.ArgumentTypeError(f"must be {allowed}, not {text!r}") from None
