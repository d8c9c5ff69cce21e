"""Times as people write and read them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import click

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def format_time(at: int | None) -> str:
    """Return epoch seconds as `2026-11-24 09:30:00Z`, "" for none."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if at else ""


def parse_time(text: str, now: int, direction: int) -> int:
    """Return the epoch seconds of `2h` (that far from now: direction -1 back, 1 ahead), of a date, or of a number.

    A date without an offset is in UTC. Raises ValueError.
    """
    if match := re.fullmatch(r"(\d{1,6})([smhd])", text, re.ASCII):
        return now + direction * int(match[1]) * _UNITS[match[2]]
    if re.fullmatch(r"\d{5,10}", text, re.ASCII):
        return int(text)
    parsed = datetime.fromisoformat(text)
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())


class TimeParam(click.ParamType[int]):
    """A time on the command line. direction: of `2h`, see `parse_time`."""

    name = "time"

    def __init__(self, direction: int) -> None:
        self._direction = direction

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return epoch seconds."""
        if isinstance(value, int):
            return value
        try:
            return parse_time(str(value), int(time.time()), self._direction)
        except (ValueError, OverflowError):
            text = f"{value!r} is not a time; use 30m, 2h, 7d, 2026-11-24, 2026-11-24T09:30 or epoch seconds"
            self.fail(text, param, ctx)


class LengthParam(click.ParamType[int]):
    """A length of time on the command line, such as `90s`, `30m`, `1h`, `7d`, in seconds."""

    name = "length"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return seconds."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d{1,6})([smhd])", str(value), re.ASCII)
        if match is None:
            self.fail(f"{value!r} is not a length of time; use 0s, 90s, 30m, 1h or 7d", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


LENGTH = LengthParam()
PAST = TimeParam(-1)
FUTURE = TimeParam(1)
