"""`python -m local audit …`: the audit of one machine's state directory, written out and compared with the counters.

stdout is for data: events as JSON lines, newest first, or one JSON object. Exit codes: 0 done, and the audit agrees;
1 it does not, or a mistake.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from chalicelib.admin import audit_pages, completeness
from chalicelib.audit import Query
from chalicelib.errors import Unavailable
from local.machine import Machine

_EVERY_PAGE = sys.maxsize


def add_to(commands: Any) -> None:  # noqa: ANN401  argparse does not name this type
    """Add the commands to a parser."""
    parser = commands.add_parser("audit", help="write out the audit of a state directory, or check it")
    verbs = parser.add_subparsers(dest="verb", required=True)
    export = verbs.add_parser("export", help="write events as JSON lines, newest first")
    export.add_argument("--since", type=_time, default=0, metavar="N", help="from then on, epoch seconds")
    export.add_argument("--until", type=_time, default=2**53, metavar="N", help="before then, epoch seconds")
    check = verbs.add_parser("check", help="say whether there is one event for each token that was counted")
    check.add_argument("--window", choices=("hour", "day"), default="day", help="how long (default: day)")
    check.add_argument("--start", type=_time, metavar="N", help="a time in it (default: the newest that is over)")
    for verb in (export, check):
        verb.add_argument("--state", type=Path, required=True, metavar="DIR")


def run(asked: argparse.Namespace) -> int:
    """Run one command and return its exit code."""
    try:
        agrees = _export(asked) if asked.verb == "export" else _check(asked)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has enough, as in `… | head`; Python would say so once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Unavailable as fault:
        hint = f" ({fault.hint})" if fault.hint else ""
        return _failed(f"the state directory is no use: {fault.reason}{hint}")
    except (OSError, ValueError) as fault:
        return _failed(str(fault))
    return 0 if agrees else _failed("the audit and the counters do not agree")


def _export(asked: argparse.Namespace) -> bool:
    query = Query(since=asked.since, until=asked.until)
    for page in audit_pages.newest(Machine.of(asked.state).ledger(), query, _EVERY_PAGE):
        sys.stdout.writelines(json.dumps(event.to_json()) + "\n" for event in page.events)
    return True


def _check(asked: argparse.Namespace) -> bool:
    here, now = Machine.of(asked.state), int(time.time())
    span = completeness.Span.containing(asked.window, asked.start, now)
    found = completeness.check(span, here.ledger(), here.usage(), now, _EVERY_PAGE)
    sys.stdout.write(json.dumps(found.to_json(), indent=2) + "\n")
    return found.agree


def _failed(text: str) -> int:
    sys.stderr.write(f"error: {text}\n")
    return 1


def _time(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 11):
        raise argparse.ArgumentTypeError(f"a time in whole seconds since 1970, not {text!r}")
    return int(text)
