"""Rows under headings, for people: columns, shortened to fit a terminal; one record below the other where that is not enough. And long text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from keybroker.cli.plain_text import plain, width

_GAP = "  "
_LEAST = 8
"""Columns of the terminal that a column of the table has at least, if its values are as long."""
_ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Fit:
    """What a terminal's table does that is too narrow for all values."""

    keep: Mapping[str, int] = field(default_factory=dict)
    """Columns that become narrower than so much only when no other can."""
    ends: Collection[str] = ()
    """Columns whose values lose their end, not their middle."""
    once: Collection[str] = ()
    """Columns that are told once, above the table, if they are the same in every row."""


_SAME = Fit()


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    columns: int | None,
    fit: Fit = _SAME,
) -> list[str]:
    """Return lines. columns: the terminal's width, None for no limit (a file or a pipe), where every value is whole.

    A cell with a member `short` is shown as that on a terminal; what is still too long loses its middle.
    """
    whole = [[plain(cell) or "-" for cell in row] for row in rows]
    short = [[plain(getattr(cell, "short", cell)) or "-" for cell in row] for row in rows]
    cells = whole if columns is None else short
    widths = [max(map(width, column)) for column in zip(headings, *cells, strict=True)]
    if columns is not None:
        fitting = _fitting(widths, headings, columns, fit.keep)
        if fitting is None:
            return _records(headings, whole)
        widths = fitting
    by_column = [
        [_cut_end(cell, wide) for cell in column] if heading in fit.ends else _cut_apart(column, wide)
        for heading, column, wide in zip(headings, zip(*cells, strict=True), widths, strict=True)
    ]
    lines = ([heading.upper() for heading in headings], *zip(*by_column, strict=True))
    return [_line(row, widths) for row in lines]


def row(cells: Sequence[object], widths: Sequence[int], *, ends: Collection[int] = ()) -> str:
    """Return one line of a table whose widths are known beforehand. ends: the columns that lose their end."""
    shown = [plain(getattr(cell, "short", cell)) or "-" for cell in cells]
    cut = [
        (_cut_end if at in ends else _cut)(cell, wide)
        for at, (cell, wide) in enumerate(zip(shown, widths, strict=True))
    ]
    return _line(cut, widths)


def _fitting(widths: Sequence[int], headings: Sequence[str], columns: int, keep: Mapping[str, int]) -> list[int] | None:
    """Return widths that fit, the widest columns made narrower, those that are kept last; None if they cannot be."""
    found = list(widths)
    least = [max(_LEAST, len(heading)) for heading in headings]
    kept = [max(low, keep.get(heading, 0)) for low, heading in zip(least, headings, strict=True)]
    while sum(found) + len(_GAP) * (len(found) - 1) > columns:
        over = [at for at, wide in enumerate(found) if wide > kept[at]] or [
            at for at, wide in enumerate(found) if wide > least[at]
        ]
        if not over:
            return None
        found[max(over, key=lambda at: found[at])] -= 1
    return found


def _cut_apart(cells: Sequence[str], wide: int) -> list[str]:
    """Return the cells of a column, none too wide; two that would look the same show where they differ instead."""
    found = [_cut(cell, wide) for cell in cells]
    alike: dict[str, set[str]] = {}
    for cell, cut in zip(cells, found, strict=True):
        alike.setdefault(cut, set()).add(cell)
    shared = {cut: _alike(min(group), max(group)) for cut, group in alike.items() if len(group) > 1}
    return [_around(cell, shared[cut], wide) if cut in shared else cut for cell, cut in zip(cells, found, strict=True)]


def _alike(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike. Of many texts, those of the first and the last in order."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _around(cell: str, at: int, wide: int) -> str:
    """Return as much of a cell as fits from a place on."""
    shown = _taken(cell[at:], wide - 2)
    return f"{_ELLIPSIS}{shown}{_ELLIPSIS if at + len(shown) < len(cell) else ''}"


def _cut(cell: str, wide: int) -> str:
    """Return a cell that is not too wide: its beginning and its end, which tell it from others."""
    if width(cell) <= wide:
        return cell
    head, tail = _taken(cell, (wide - 1) // 2), _taken(cell[::-1], wide - 1 - (wide - 1) // 2)[::-1]
    return f"{head}{_ELLIPSIS}{tail}"


def _cut_end(cell: str, wide: int) -> str:
    """Return a cell that is not too wide: its beginning, which says what it is about."""
    return cell if width(cell) <= wide else f"{_taken(cell, wide - 1)}{_ELLIPSIS}"


def wrapped(text: str, columns: int | None, indent: str = _GAP, first: str = "") -> list[str]:
    """Return lines no longer than a terminal's, the second and later ones indented; one line if columns is None.

    first: what the first line begins with instead.
    """
    if columns is None:
        return [first + text]
    lines = [first]
    for word in text.split(" "):
        left = word
        begun = lines[-1] not in (first, indent)
        spaced = f"{lines[-1]} {word}" if begun else f"{lines[-1]}{word}"
        if width(spaced) <= columns:
            lines[-1] = spaced
            continue
        if begun:
            lines.append(indent)
        # A word longer than a line goes on in the next one: shortened, it would not be what it says.
        while width(lines[-1] + left) > columns:
            part = _taken(left, max(1, columns - width(lines[-1]))) or left[:1]
            lines[-1] += part
            left = left[len(part) :]
            lines.append(indent)
        lines[-1] += left
    return [line.rstrip() for line in lines if line.strip()] or [""]


def record(members: Sequence[tuple[str, Iterable[object]]], columns: int | None) -> list[str]:
    """Return names with values that are whole, each on a line of its own, or on several."""
    wide = max(width(name) for name, _ in members) + len(_GAP)
    lines: list[str] = []
    for name, values in members:
        for number, value in enumerate(values):
            first = _padded("" if number else name, wide)
            lines += wrapped(plain(value), columns, " " * (wide + len(_GAP)), first)
    return lines


def _taken(text: str, columns: int) -> str:
    """Return as much of the beginning of a text as fits."""
    end = 0
    while end < len(text) and width(text[: end + 1]) <= columns:
        end += 1
    return text[:end]


def pairs(members: Sequence[tuple[str, object]]) -> list[str]:
    """Return one line for each name and value, with the values aligned."""
    widest = max((width(name) for name, _ in members), default=0)
    return [f"{_padded(name, widest)}{_GAP}{plain(value)}".rstrip() for name, value in members]


def _records(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines: list[str] = []
    for row in rows:
        lines += ["", *pairs(list(zip(headings, row, strict=True)))]
    return lines[1:]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(_padded(cell, wide) for cell, wide in zip(cells, widths, strict=True)).rstrip()


def _padded(cell: str, wide: int) -> str:
    return cell + " " * (wide - width(cell))
