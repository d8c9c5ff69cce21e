"""The rules of `chalicelib.edge.response_times.ResponseTimes`, whatever they are kept in."""

from __future__ import annotations

from chalicelib.edge.response_times import BOUNDS, SHOWN_SECONDS, Responses
from chalicelib.usage import window_start
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW, one_answer

HOUR = window_start("hour", NOW)


def answers(count: int, bucket: int, failed: int = 0, start: int = HOUR, window: str = "hour") -> Responses:
    return Responses(window, start, failed, tuple(count * (index == bucket) for index in range(len(BOUNDS) + 1)))


def test_answers_add_up(adapters: Adapters) -> None:
    """What several edges saw of a window is one sum, whatever it is."""
    adapters.response_times.add([answers(2, 0), answers(1, len(BOUNDS), failed=1)])
    adapters.response_times.add([answers(3, 0, failed=1)])
    expected = Responses("hour", HOUR, 2, (5, *answers(1, len(BOUNDS)).buckets[1:]))
    assert adapters.response_times.responses(NOW) == (expected,)


def test_one_answer_is_in_each_window(adapters: Adapters) -> None:
    """An answer counts in its minute and in its hour."""
    adapters.response_times.add(one_answer(NOW, 0.3, failed=True))
    found = adapters.response_times.responses(NOW)
    assert [(one.window, one.start, one.calls, one.failed) for one in found] == [
        ("minute", window_start("minute", NOW), 1, 1),
        ("hour", HOUR, 1, 1),
    ]


def test_windows_end(adapters: Adapters) -> None:
    """Minutes of the last hour are there and hours of the last day, in order, and nothing else is."""
    minutes = [window_start("minute", NOW) - 60 * number for number in range(62)]
    hours = [HOUR - 3600 * number for number in range(26)]
    for window, starts in (("minute", minutes), ("hour", hours)):
        adapters.response_times.add([answers(1, 1, start=start, window=window) for start in starts])
    found = adapters.response_times.responses(NOW)
    for window, starts in (("minute", minutes), ("hour", hours)):
        shown = [start for start in reversed(starts) if start >= window_start(window, NOW - SHOWN_SECONDS[window])]
        assert [one.start for one in found if one.window == window] == shown
