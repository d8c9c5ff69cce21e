"""Rows under headings, for people: columns, shortened to fit a terminal; one record below the other where that is not enough."""

from __future__ import annotations

from collections.abc import Sequence

from keybroker.cli.plain_text import plain, width

_GAP = "  "
_LEAST = 8
"""Columns of the terminal that a column of the table has at least, if its values are as long."""
_ELLIPSIS = "…"


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], columns: int | None) -> list[str]:
    """Return lines. columns: the terminal's width, None for no limit (a file or a pipe), where every value is whole.

    A cell with a member `short` is shown as that on a terminal; what is still too long loses its middle.
    """
    whole = [[plain(cell) or "-" for cell in row] for row in rows]
    short = [[plain(getattr(cell, "short", cell)) or "-" for cell in row] for row in rows]
    cells = whole if columns is None else short
    widths = [max(map(width, column)) for column in zip(headings, *cells, strict=True)]
    if columns is not None:
        fitting = _fitting(widths, [len(heading) for heading in headings], columns)
        if fitting is None:
            return _records(headings, whole)
        widths = fitting
    by_column = [_cut_apart(column, wide) for column, wide in zip(zip(*cells, strict=True), widths, strict=True)]
    lines = ([heading.upper() for heading in headings], *zip(*by_column, strict=True))
    return [_line(row, widths) for row in lines]


def _fitting(widths: Sequence[int], headings: Sequence[int], columns: int) -> list[int] | None:
    """Return widths that fit, the widest columns made narrower; None if they cannot be."""
    found = list(widths)
    while sum(found) + len(_GAP) * (len(found) - 1) > columns:
        least = [max(_LEAST, heading) for heading in headings]
        over = [wide - low for wide, low in zip(found, least, strict=True)]
        if max(over) <= 0:
            return None
        widest = max(range(len(found)), key=lambda at: found[at] if over[at] > 0 else 0)
        found[widest] -= 1
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
