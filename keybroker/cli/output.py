"""A command's output: data on stdout, messages for people on stderr, colours on terminals only."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TextIO

from keybroker.cli import table
from keybroker.cli.plain_text import plain
from keybroker.cli.table import Fit

_COLOURS = {"error": "31", "warning": "33", "ok": "32"}
_SILENCE = 1.0
"""Seconds after which a command reports what it is waiting for."""


def data(text: str) -> None:
    """Write a line of data."""
    sys.stdout.write(f"{text}\n")


def as_json(value: object, *, line: bool = False) -> None:
    """Write a JSON document. line: on one line, as `json_line`."""
    if line:
        json_line(value)
    else:
        data(json_text(value))


def json_text(value: object) -> str:
    """Return it as JSON, in ASCII: its strings cannot control the terminal."""
    return json.dumps(value, indent=2)


def json_line(value: object) -> None:
    """Write a JSON document on one line, unbuffered: a reader may be waiting for it."""
    data(json.dumps(value))
    sys.stdout.flush()


def rows(
    headings: Sequence[str],
    found: Sequence[Sequence[object]],
    none: str = "none",
    fit: Fit | None = None,
) -> None:
    """Write a table that fits the terminal; without rows, write `none` to stderr instead."""
    fit = fit or Fit()
    if not found:
        message(none)
        return
    if columns() is not None and len(found) > 1:
        headings, found = _told_once(headings, found, fit.once)
    for number, line in enumerate(table.table(headings, found, columns(), fit)):
        is_head = number == 0 and line.startswith(headings[0].upper())
        data(f"\033[1m{line}\033[0m" if is_head and coloured(sys.stdout) else line)


def _told_once(
    headings: Sequence[str], found: Sequence[Sequence[object]], once: Collection[str]
) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
    """Write what is the same in every row, and return what is left to show."""
    places = [headings.index(name) for name in once if len({str(row[headings.index(name)]) for row in found}) == 1]
    if not places:
        return headings, found
    wrapped(", ".join(f"{headings[at]} {plain(found[0][at])}" for at in places))
    left = [at for at in range(len(headings)) if at not in places]
    return [headings[at] for at in left], [[row[at] for at in left] for row in found]


def wrapped(text: str) -> None:
    """Write a line of data; on a terminal that is narrower, several, the later ones indented."""
    for line in table.wrapped(text, columns()):
        data(line)


def columns() -> int | None:
    """Return how wide the terminal is to which data goes; None for a file or a pipe."""
    return _columns(sys.stdout)


def clear() -> None:
    """Clear a terminal, for what is shown again; nothing for a file or a pipe."""
    sys.stdout.flush()
    if sys.stdout.isatty():
        sys.stdout.write("\033[H\033[2J")


def members(found: Sequence[tuple[str, object]]) -> None:
    """Write names and values, one a line."""
    for line in table.pairs(found):
        data(line)


def message(text: object) -> None:
    """Write a message for people to stderr."""
    sys.stderr.write(f"{plain(text)}\n")
    sys.stderr.flush()


def labelled(label: str, text: object) -> None:
    """Write a message after a coloured label: `error`, `warning` or `ok`."""
    sys.stderr.write(_labelled(label, text, sys.stderr))
    sys.stderr.flush()


def marked(label: str, text: object) -> None:
    """Write a line of data after such a label."""
    sys.stdout.write(_labelled(label, text, sys.stdout))


def coloured(stream: TextIO) -> bool:
    """Return whether to use colours: on a terminal, unless NO_COLOR (https://no-color.org) is set."""
    plain_only = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain_only


@contextlib.contextmanager
def waiting(text: str) -> Iterator[None]:
    """Write what is being waited for if it takes longer than a second."""
    timer = threading.Timer(_SILENCE, message, (f"{text} …",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def counts(found: Mapping[str, int]) -> str:
    """Return `3 revoked, 1 quota` for a mapping of reasons to numbers."""
    return ", ".join(f"{number} {reason}" for reason, number in found.items())


def number(count: int, what: str) -> str:
    """Return `1 call`, `2 calls`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _labelled(label: str, text: object, stream: TextIO) -> str:
    shown = f"\033[{_COLOURS[label]}m{label}:\033[0m" if coloured(stream) else f"{label}:"
    return f"{shown} {plain(text)}\n"


def _columns(stream: TextIO) -> int | None:
    return shutil.get_terminal_size().columns if stream.isatty() else None
