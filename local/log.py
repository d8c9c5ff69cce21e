"""The log of one machine: lines of a bounded size, each with its time; what is JSON stays JSON, or all of it is.

KEYBROKER_LOG=json puts every line on stdout, as JSON; otherwise they go to stderr as they come.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sys
import time
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TextIO

VARIABLE = "KEYBROKER_LOG"
LINE_BYTES = 8192
"""A line is not longer, whatever is logged."""
REPEATS = 5
"""So many times a minute the same warning is logged; the others are counted in the next one after that."""
_VALUES = (500, 100, 20)
"""Characters that are left of each value in a line that is too long: the first with which it is not."""
_MINUTE = 60.0
_TEXTS = 256
"""Texts of warnings that are remembered."""


class TimedFormatter(logging.Formatter):
    """Puts the time (UTC, ISO 8601) in front of a line, and into a JSON object as its first member, `time`."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        text = super().format(record)
        line = f'{{"time": "{_time(record)}", {text[1:]}' if text.startswith('{"') else f"{_time(record)} {text}"
        if len(line.encode(errors="replace")) <= LINE_BYTES:
            return line
        return _cut_object(record, text) if text.startswith('{"') else f"{_start(line)} (cut)"


class JsonFormatter(logging.Formatter):
    """Makes each line a JSON object: what is one already with its time, anything else as `level` and `message`."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        text = super().format(record)
        if len(text) > LINE_BYTES:
            return _cut_object(record, text)
        if _is_object(text):
            line = f'{{"time": "{_time(record)}", {text[1:]}'
            return line if len(line.encode(errors="replace")) <= LINE_BYTES else _cut_object(record, text)
        line = json.dumps({"time": _time(record), "level": record.levelname.lower(), "message": text})
        return line if len(line) <= LINE_BYTES else _cut_object(record, text)


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines; what cannot be written is said on stderr in one line a minute, and no call waits or fails for it."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lost = 0
        self._said = -_MINUTE

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's own name
        """See `logging.Handler.handleError`, which would print a traceback for every line."""
        self._lost += 1
        now, error = time.monotonic(), sys.exception()
        if now - self._said < _MINUTE:
            return
        self._said = now
        why = error.strerror if isinstance(error, OSError) else type(error).__name__
        with contextlib.suppress(OSError, ValueError):  # that one is closed or full as well
            sys.stderr.write(f"{_time(record)} the log cannot be written ({why}); lines lost so far: {self._lost}\n")
            sys.stderr.flush()


class Repeats(logging.Filter):
    """Lets the same warning through a few times a minute, and says with the next one how many there were.

    What callers did is never left out: those lines are no warnings, and each has a request's id.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: OrderedDict[bytes, tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter.filter`."""
        if record.levelno < logging.WARNING or record.exc_info:
            return True
        text, now = record.getMessage(), time.monotonic()
        known = hashlib.sha256(text.encode(errors="replace")).digest()  # as short for a long text as for any
        began, count = self._seen.pop(known, (now, 0))
        missed = 0
        if now - began >= _MINUTE:
            missed, began, count = max(0, count - REPEATS), now, 0
        self._seen[known] = (began, count + 1)
        if len(self._seen) > _TEXTS:
            self._seen.popitem(last=False)
        if missed:
            record.msg, record.args = _with_missed(text, missed), None
        return count < REPEATS


def to_stderr(level: str = "info") -> None:
    """Send this process's log to stderr, or as KEYBROKER_LOG says: ours from a level on, and the warnings of everything else."""
    as_json = os.environ.get(VARIABLE) == "json"
    handler = LineHandler(sys.stdout if as_json else sys.stderr)
    handler.setFormatter(JsonFormatter("%(message)s") if as_json else TimedFormatter("%(message)s"))
    handler.addFilter(Repeats())
    logging.getLogger().addHandler(handler)
    logging.getLogger("keybroker").setLevel(level.upper())


def _with_missed(text: str, missed: int) -> str:
    if _is_object(text):
        return f'{text[:-1]}, "missed": {missed}}}'
    return f"{text} (and {missed} more in the minute before)"


def _cut_object(record: logging.LogRecord, text: str) -> str:
    """Return a line that says how long it would have been, with the beginnings of what is long in it."""
    about = {"time": _time(record), "cut": len(text.encode(errors="replace"))}
    # SECURITY: the members stay, so that no long value hides a refusal, or whose it was (test_a_long_value_hides_nothing).
    members = _object(text) or {}
    for longest in _VALUES if members else ():
        line = json.dumps({**about, **{name: _begun(value, longest) for name, value in members.items()}})
        if len(line) <= LINE_BYTES:
            return line
    # A quote or a control character takes up to six bytes in JSON.
    return json.dumps({**about, "level": record.levelname.lower(), "message": text[: (LINE_BYTES - 200) // 6]})


def _begun(value: object, longest: int) -> object:
    """Return a value, or how its text begins."""
    text = value if isinstance(value, str) else json.dumps(value)
    return value if len(text) <= longest else f"{text[:longest]}…"


def _start(line: str) -> str:
    return line.encode(errors="replace")[: LINE_BYTES - 8].decode(errors="ignore")


def _is_object(text: str) -> bool:
    return _object(text) is not None


def _object(text: str) -> dict[str, object] | None:
    """Return the object that a line is; None if it is none."""
    if not (text.startswith('{"') and text.endswith("}")):
        return None
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
