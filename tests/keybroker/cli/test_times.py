from __future__ import annotations

import pytest

from keybroker.cli import times

NOW = 1_795_523_678


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("90s", NOW - 90),
        ("30m", NOW - 1800),
        ("2h", NOW - 7200),
        ("7d", NOW - 604_800),
        ("1795523678", NOW),
        ("2026-11-24", 1_795_478_400),
        ("2026-11-24T09:30", 1_795_512_600),
        ("2026-11-24T09:30:00Z", 1_795_512_600),
        ("2026-11-24T10:30+01:00", 1_795_512_600),
    ],
)
def test_a_time_is_an_age_a_date_or_a_number(text: str, at: int) -> None:
    """A time is an age, a date or epoch seconds."""
    assert times.parse_time(text, NOW, -1) == at


def test_a_future_time_is_counted_from_now() -> None:
    """A duration in the future is counted from now."""
    assert times.parse_time("2h", NOW, 1) == NOW + 7200


@pytest.mark.parametrize("text", ["", "yesterday", "2w", "-2h", "2 h", "1234", "2026-13-01", "२h", "99999999d"])
def test_anything_else_is_refused(text: str) -> None:
    """Anything else is not a time."""
    with pytest.raises(ValueError, match=r".*"):
        times.parse_time(text, NOW, -1)


def test_times_are_shown_in_utc() -> None:
    """Times are shown in UTC."""
    assert times.format_time(NOW) == "2026-11-24 12:34:38Z"
    assert times.format_time(None) == times.format_time(0) == ""
