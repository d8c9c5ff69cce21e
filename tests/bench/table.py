"""A table for a person to read in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Cell = str | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """What a bench found. columns: the first names the rows. notes: sentences below the table."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()

    def lines(self) -> Iterator[str]:
        """Yield the lines: text to the left, numbers to the right."""
        cells = [[_text(cell) for cell in row] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(self.columns, *cells, strict=True)]
        # A column is numbers if there is one in it; a cell may be empty.
        right = [any(isinstance(row[index], float) for row in self.rows) for index in range(len(self.columns))]
        yield from (self.title, "")
        for line in (self.columns, ["-" * width for width in widths], *cells):
            padded = zip(line, widths, right, strict=True)
            yield (
                "  " + "   ".join(one.rjust(width) if end else one.ljust(width) for one, width, end in padded).rstrip()
            )
        yield ""
        yield from (f"  {note}" for note in self.notes)


def _text(cell: Cell) -> str:
    if isinstance(cell, float):
        return f"{cell:,.0f}" if cell >= 100 else f"{cell:,.1f}"
    return cell or ""
