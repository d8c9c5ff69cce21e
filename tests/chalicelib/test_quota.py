"""Windows, numbers and limits."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.quota import COUNT_LIMIT, WINDOWS, Exceeded, Limit, counters, exceeded, parse, window_ends

NOW = 1_800_000_000  # 2027-01-15T08:00:00Z: the start of a minute and of an hour, eight hours into a day
TIMES = st.integers(min_value=0, max_value=2**40)
NAMES = st.sampled_from(list(WINDOWS))


def test_something_done_now_counts_in_its_minute_its_hour_and_its_day() -> None:
    found = counters("calls", "app", "issuer|sub:1", NOW + 3600 + 61)
    assert [(one.window, one.start - NOW) for one in found] == [("minute", 3660), ("hour", 3600), ("day", -8 * 3600)]
    assert {(one.what, one.grant, one.principal) for one in found} == {("calls", "app", "issuer|sub:1")}


@given(TIMES)
def test_every_moment_is_in_exactly_one_window_of_each_length(now: int) -> None:
    for counter in counters("calls", "app", "p", now):
        assert counter.start <= now < window_ends(counter) == counter.start + WINDOWS[counter.window]
        assert counter.start % WINDOWS[counter.window] == 0


@given(TIMES, NAMES)
def test_a_windows_last_second_is_its_own_and_the_next_is_the_next_windows(now: int, window: str) -> None:
    def start(at: int) -> int:
        return next(one.start for one in counters("calls", "app", "p", at) if one.window == window)

    ends = start(now) + WINDOWS[window]
    assert start(ends - 1) == start(now)
    assert start(ends) == ends


@pytest.mark.parametrize(("number", "refused"), [(1, False), (9, False), (10, False), (11, True), (10**12, True)])
def test_a_limit_of_n_lets_the_nth_through_and_not_the_next(number: int, refused: bool) -> None:  # noqa: FBT001  a parameter of the table
    assert (exceeded([Limit(10, "minute")], {"minute": number}, NOW) is not None) is refused


def test_no_limit_is_never_exceeded() -> None:
    assert exceeded([], {}, NOW) is None


@pytest.mark.parametrize("window", WINDOWS)
def test_a_window_whose_number_is_missing_counts_as_exceeded(window: str) -> None:
    limit = Limit(COUNT_LIMIT, window)
    numbers = {name: 1 for name in WINDOWS if name != window}
    assert exceeded([limit], numbers, NOW) == Exceeded(limit, WINDOWS[window] - NOW % WINDOWS[window])


def test_of_several_exceeded_limits_the_one_that_lasts_longest_is_told() -> None:
    limits = [Limit(1, "day"), Limit(1, "minute"), Limit(1, "hour")]
    numbers = {"minute": 2, "hour": 2, "day": 2}
    assert exceeded(limits, numbers, NOW) == Exceeded(limits[0], 16 * 3600)
    assert exceeded(limits, {**numbers, "day": 1}, NOW) == Exceeded(limits[2], 3600)
    assert exceeded(limits, {**numbers, "day": 1, "hour": 1}, NOW) == Exceeded(limits[1], 60)


def test_at_the_end_of_a_day_a_limit_of_an_hour_cannot_outlast_it() -> None:
    both = [Limit(1, "day"), Limit(1, "minute")]
    told = exceeded(both, {"day": 2, "minute": 2}, NOW + 16 * 3600 - 1)
    assert told == Exceeded(both[0], 1)


LIMITS = st.builds(Limit, st.integers(1, COUNT_LIMIT), NAMES)


@given(st.lists(LIMITS, max_size=4), st.dictionaries(NAMES, st.integers(1, 2 * COUNT_LIMIT)), TIMES)
def test_what_is_told_is_exceeded_and_nothing_exceeded_lasts_longer(
    limits: list[Limit], numbers: dict[str, int], now: int
) -> None:
    def wait(limit: Limit) -> int:
        return WINDOWS[limit.window] - now % WINDOWS[limit.window]

    beyond = [limit for limit in limits if limit.window not in numbers or numbers[limit.window] > limit.count]
    told = exceeded(limits, numbers, now)
    assert (told is None) is (not beyond)
    if told:
        assert told.limit in beyond
        assert 1 <= told.retry_after == wait(told.limit) == max(wait(limit) for limit in beyond)


FORM = re.compile("([0-9]{1,10})/(minute|hour|day)")
NEARLY = st.tuples(
    st.sampled_from(["", "+", "-", " ", "0x", "\t", "1_", "1.", "1e", "٣", "²", "0"]),
    st.integers(0, 10**11).map(str),
    st.sampled_from(["/", " / ", "//", "", "\u2215", " per "]),
    st.sampled_from(["minute", "hour", "day", "minutes", "Minute", "min", "h", "week", "second", "", "day\n", "day "]),
).map("".join)


@given(st.text(max_size=15) | NEARLY | LIMITS.map(str))
@example("1/minute")
@example("1000000000/day")
@example("1000000001/day")
@example("0/hour")
@example("٣/hour")
@example("1/minute\n")
@example("1/minute/1/day")
def test_only_a_decimal_number_per_minute_hour_or_day_is_a_limit(text: str) -> None:
    form = FORM.fullmatch(text)
    meant = Limit(int(form[1]), form[2]) if form and 1 <= int(form[1]) <= COUNT_LIMIT else None
    assert parse(text) == meant


@given(LIMITS)
def test_a_limit_reads_back_what_it_says(limit: Limit) -> None:
    assert parse(str(limit)) == limit


@pytest.mark.parametrize("value", [None, 60, 60.0, True, b"1/day", ["1/day"], {"1": "day"}, ("1", "day")], ids=repr)
def test_what_is_no_text_is_no_limit(value: object) -> None:
    assert parse(value) is None


def test_a_number_of_a_million_digits_is_refused_without_reading_it() -> None:
    assert parse("9" * 10**6 + "/day") is None
