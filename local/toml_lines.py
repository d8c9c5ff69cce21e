"""A TOML file with the line of each field, and every fault of its syntax: `tomllib` tells the first one, and no lines."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MOST_LINES = 500
"""A file is parsed again for each of its lines, to learn where each field begins."""
Path = tuple[str, ...]
_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)$")

_NO_TOML = (ValueError, RecursionError)
"""What `tomllib` raises: besides its own error, one for a number of thousands of digits, and one for deep nesting."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file, without the lines that are no TOML.

    values: what it says
    lines: where each field and table begins, from 1
    faults: of its syntax: line and what is wrong
    """

    values: Mapping[str, Any]
    lines: Mapping[Path, int]
    faults: tuple[tuple[int, str], ...]


def parse(text: str) -> Document:
    """Return what a file says. After a fault within a value of several lines the rest is left out: it could mean anything."""
    lines = [f"{line}\n" for line in text.removesuffix("\n").split("\n")]  # not splitlines: TOML has fewer line ends
    if len(lines) > MOST_LINES:
        return Document({}, {}, ((MOST_LINES + 1, f"over {MOST_LINES} lines"),))
    faults = []
    while (fault := _fault(lines)) is not None:
        line, what, is_open = fault
        faults.append((line, what))
        before = lines[: line - 1]
        if not is_open and _parses(before):
            lines = [*before, "\n", *lines[line:]]
            continue
        while not _parses(before):
            before.pop()
        lines = before
    return Document(tomllib.loads("".join(lines)), _lines_of(lines), tuple(sorted(faults)))


def _fault(lines: list[str]) -> tuple[int, str, bool] | None:
    """Return the first fault: its line, what is wrong, and whether a value that begins there does not end."""
    try:
        tomllib.loads("".join(lines))
    except _NO_TOML as error:
        found = _PLACE.search(str(error))
        what = str(error)[: found.start()] if found else str(error)
        if found and found["line"]:
            return int(found["line"]), what, False
        begins = next(one for one in range(len(lines), 0, -1) if _parses(lines[: one - 1]))
        return begins, what, found is not None
    return None


def _parses(lines: list[str]) -> bool:
    try:
        tomllib.loads("".join(lines))
    except _NO_TOML:
        return False
    return True


def _lines_of(lines: list[str]) -> Mapping[Path, int]:
    found: dict[Path, int] = {}
    begins = 1
    for number in range(1, len(lines) + 1):
        try:
            values = tomllib.loads("".join(lines[:number]))
        except _NO_TOML:
            continue  # in the middle of a value
        for path in _paths(values):
            found.setdefault(path, begins)
        begins = number + 1
    return found


def _paths(table: Mapping[str, Any], above: Path = ()) -> Iterator[Path]:
    for name, value in table.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from _paths(value, (*above, name))
