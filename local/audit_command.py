"""`python -m local audit …`: exports the audit of a state directory, or compares it with the counters.

stdout is for data: events as JSON lines, newest first, or one JSON object. Exit codes: 0 success, 1 an error, or the audit
and the counters differ.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from chalicelib.admin import completeness, paging
from chalicelib.audit import Query
from chalicelib.errors import Unavailable
from local.machine import Machine

_ALL_PAGES = sys.maxsize


def add_to(commands: Any) -> None:  # noqa: ANN401  argparse has no public name for this type
    """Add the commands to a parser."""
    parser = commands.add_parser("audit", help="export the audit of a state directory, or check it")
    verbs = parser.add_subparsers(dest="verb", required=True)
    export = verbs.add_parser("export", help="print events as JSON lines, newest first")
    export.add_argument("--since", type=_time, default=0, metavar="N", help="first time to include, in epoch seconds")
    export.add_argument(
        "--until", type=_time, default=2**53, metavar="N", help="end of the time range (exclusive), in epoch seconds"
    )
    check = verbs.add_parser("check", help="check that each counted token has exactly one event")
    check.add_argument("--window", choices=("hour", "day"), default="day", help="window to check (default: day)")
    check.add_argument(
        "--start",
        type=_time,
        metavar="N",
        help="any time in the window, in epoch seconds (default: the last complete one)",
    )
    for verb in (export, check):
        verb.add_argument("--state", type=Path, required=True, metavar="DIR")


def run(options: argparse.Namespace) -> int:
    """Run one command and return its exit code."""
    try:
        matches = _export(options) if options.verb == "export" else _check(options)
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
    query = Query(since=options.since, until=options.until)
    for page in paging.events(Machine.open(options.state).ledger(), query, _ALL_PAGES):
        sys.stdout.writelines(json.dumps(event.to_json()) + "\n" for event in page.events)
    return True


def _check(options: argparse.Namespace) -> bool:
    machine, now = Machine.open(options.state), int(time.time())
    span = completeness.Span.containing(options.window, options.start, now)
    everything = completeness.Bounds(pages=_ALL_PAGES, events=2**62)
    found = completeness.check(span, machine.ledger(), machine.usage(), now, everything)
    sys.stdout.write(json.dumps(found.to_json(), indent=2) + "\n")
    return found.agree


def _fail(text: str) -> int:
    sys.stderr.write(f"error: {text}\n")
    return 1


def _time(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 11):
        raise argparse.ArgumentTypeError(f"must be a time in whole seconds since 1970, not {text!r}")
    return int(text)
