"""What is drawn over time: two lines, and the table that says the same in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from keybroker.console.rendering import number


class Plot(NamedTuple):
    """One plot. lines: two of them, each by its name, with a value or None for each start. columns: the table's, as texts."""

    title: str
    starts: list[int]
    lines: Mapping[str, Sequence[float | None]]
    columns: dict[str, list[str]]
    top: float = 1
    """Where the scale ends, at least."""

    def drawn(self) -> dict[str, Any]:
        """Return what the script draws."""
        return {"starts": self.starts, "lines": list(self.lines.values()), "top": self.top}


def of_calls(title: str, series: dict[str, Any] | None) -> Plot:
    """Return the plot of a series of usage."""
    items = (series or {}).get("items", [])
    calls, tokens = ([one[name] for one in items] for name in ("calls", "tokens"))
    refused = [sum(one["refused_calls"].values()) for one in items]
    numbers = {"Calls": calls, "Refused": refused, "Tokens": tokens}
    columns = {name: list(map(number, values)) for name, values in numbers.items()}
    return Plot(title, [one["start"] for one in items], {"admitted": calls, "refused": refused}, columns)


def of_times(title: str, starts: list[int], responses: Sequence[dict[str, Any]]) -> Plot:
    """Return the plot of how long answers took. starts: of all windows, also of those without an answer."""
    found = _by_start(starts, responses)
    lines = {
        name: [one[of] if one else None for one in found]
        for name, of in (("half within", "p50_seconds"), ("95 % within", "p95_seconds"))
    }
    columns = {name.capitalize(): [seconds(value) for value in values] for name, values in lines.items()}
    return Plot(title, starts, lines, columns, top=0.1)


def of_failures(title: str, starts: list[int], responses: Sequence[dict[str, Any]]) -> Plot:
    """Return the plot of the answers that failed. starts: as for `of_times`."""
    found = _by_start(starts, responses)
    answers, failed = ([one[of] if one else 0 for one in found] for of in ("calls", "failed"))
    columns = {
        "Answers": list(map(number, answers)),
        "Failed": list(map(number, failed)),
        "Rate": [percent(one) for one in found],
    }
    return Plot(title, starts, {"answers": answers, "failed": failed}, columns)


def seconds(value: float | None) -> str:
    """Return a time as people read it."""
    if value is None:
        return "-"
    return f"{value * 1000:,.0f} ms" if value < 1 else f"{value:,.1f} s"


def percent(one: dict[str, Any] | None) -> str:
    """Return the part of a window's answers that failed."""
    return f"{one['failed'] / one['calls']:.1%}" if one and one["calls"] else "-"


def _by_start(starts: list[int], responses: Sequence[dict[str, Any]]) -> list[dict[str, Any] | None]:
    by_start = {one["start"]: one for one in responses}
    return [by_start.get(start) for start in starts]
