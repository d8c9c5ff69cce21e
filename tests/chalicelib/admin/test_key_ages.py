from __future__ import annotations

from collections.abc import Collection, Mapping

from chalicelib.admin.key_ages import last_used
from chalicelib.usage import UsagePage, UsageQuery, Use

NOW = 1_800_000_000
DAY = 86_400
TODAY = NOW - NOW % DAY


class Days:
    """`Usage` over the uses of each day, which counts how often it is read."""

    def __init__(self, days: Mapping[int, tuple[Use, ...]], *, more: str = "") -> None:
        self.days, self.more, self.reads = days, more, 0

    def uses(self, query: UsageQuery) -> UsagePage:
        self.reads += 1
        assert (query.window, query.models) == ("day", False)
        return UsagePage(self.days.get(query.start, ()), self.more)

    def recent_calls(self, pairs: Collection[tuple[str, str]], now: int) -> Mapping[tuple[str, str], int]:
        raise NotImplementedError


def use(key: str, seen: int, calls: int = 1) -> Use:
    return Use("ci|1", "app", key, calls=calls, last_seen=seen)


def test_the_newest_use_of_any_principal() -> None:
    """A key was last used when the last one who called with it was seen; no earlier day is read once all are known."""
    days = Days({TODAY: (use("a", TODAY + 60), use("a", TODAY + 120)), TODAY - DAY: (use("a", TODAY - 60),)})
    assert (last_used(days, ["a"], NOW), days.reads) == (({"a": TODAY + 120}, True), 1)


def test_a_use_is_a_call() -> None:
    """A token that was never used, or a call that was refused, is no use of a key."""
    days = Days({TODAY: (use("a", TODAY + 60, calls=0),), TODAY - 34 * DAY: (use("a", TODAY - 34 * DAY),)})
    assert last_used(days, ["a"], NOW) == ({"a": TODAY - 34 * DAY}, True)


def test_how_far_it_looks_back() -> None:
    """Days are read as far back as they are kept, none for no key, and another key's use is not told."""
    days = Days({TODAY - 35 * DAY: (use("a", TODAY - 35 * DAY),), TODAY: (use("b", TODAY),)})
    assert (last_used(days, ["a"], NOW), days.reads) == (({}, True), 35)
    assert last_used(Days({}), [], NOW) == ({}, True)


def test_what_was_not_read_is_told() -> None:
    """Where a day has more uses than are read, a key without one is not said to be unused."""
    assert last_used(Days({}, more="next"), ["a"], NOW) == ({}, False)
