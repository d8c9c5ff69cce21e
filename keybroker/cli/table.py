"""Rows under headings, for people: columns where they fit, otherwise one record below the other."""

from __future__ import annotations

from collections.abc import Sequence

from keybroker.cli.plain_text import plain, width

_GAP = "  "


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], columns: int | None) -> list[str]:
    """Return lines. columns: the terminal's width, None for no limit (a file or a pipe)."""
    cells = [[plain(cell) or "-" for cell in row] for row in rows]
    widths = [max(map(width, column)) for column in zip(headings, *cells, strict=True)]
    if columns is None or sum(widths) + len(_GAP) * (len(widths) - 1) <= columns:
        return [_line(row, widths) for row in ([heading.upper() for heading in headings], *cells)]
    return _records(headings, cells)


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
