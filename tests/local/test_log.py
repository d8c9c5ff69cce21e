"""The log of one machine."""

from __future__ import annotations

import json
import logging

import pytest

from local.log import TimedFormatter


def _line(text: str, error: BaseException | None = None) -> str:
    record = logging.LogRecord(
        "keybroker", logging.INFO, "", 0, text, None, (type(error), error, None) if error else None
    )
    record.created = 1_800_000_000.25
    return TimedFormatter("%(message)s").format(record)


def test_an_object_gets_its_time_first() -> None:
    """A line of JSON stays JSON, and begins with its time."""
    about = {"door": "edge", "status": 401}
    line = _line(json.dumps(about))
    assert line.startswith('{"time": "2027-01-15T08:00:00.250Z", ')
    assert json.loads(line) == {"time": "2027-01-15T08:00:00.250Z", **about}


@pytest.mark.parametrize("text", ["the gateway failed", "{", "{}", "[1]", ""])
def test_other_lines_begin_with_their_time(text: str) -> None:
    assert _line(text) == f"2027-01-15T08:00:00.250Z {text}"


def test_a_traceback_follows_its_line() -> None:
    assert _line("it failed", KeyError("x")).splitlines()[0] == "2027-01-15T08:00:00.250Z it failed"
