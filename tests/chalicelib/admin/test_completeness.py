from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from chalicelib.admin import completeness
from chalicelib.admin.completeness import Bounds, Completeness, Mismatch, Span
from chalicelib.audit import Event, IssuedCount, Page, Query
from chalicelib.errors import Refusal, Unavailable
from chalicelib.quota import COUNTERS_KEPT
from local.sqlite.usage import SqliteUsage
from tests.chalicelib.admin.test_impact import issued, record
from tests.parts import CI, NOW, SUB, Parts, mint

HOUR, DAY = 3600, 86400
AFTER = NOW + 2 * DAY  # both windows of NOW are over, and kept


def check(parts: Parts, window: str = "day", now: int = AFTER, bounds: Bounds | None = None) -> Completeness:
    span = Span.containing(window, NOW, now)
    return completeness.check(span, parts.ledger, SqliteUsage(parts.state), now, bounds)


@pytest.mark.parametrize("window", ["hour", "day"])
def test_agreement(parts: Parts, window: str) -> None:
    """Each token issued is one event and is counted once."""
    for number in range(3):
        parts.token()
        parts.token(repository_id=str(number))
    with pytest.raises(Refusal, match="no_grant"):
        parts.exchange(mint(ref="x"))
    found = check(parts, window)
    assert found.to_json() == {
        "window": window,
        "start": NOW - NOW % {"hour": HOUR, "day": DAY}[window],
        "end": NOW - NOW % {"hour": HOUR, "day": DAY}[window] + {"hour": HOUR, "day": DAY}[window],
        "complete": True,
        "issued_events": 6,
        "counted": 6,
        "agree": True,
        "differing": [],
    }


def test_retry_is_not_counted(parts: Parts) -> None:
    """A retry is neither an event nor counted."""
    subject = mint()
    for _ in range(3):
        parts.exchange(subject, idempotency_key="0123456789abcdef0123456789abcdef")
    found = check(parts)
    assert (found.issued_events, found.counted, found.agree) == (1, 1, True)


def test_other_windows(parts: Parts) -> None:
    """Tokens of another window are not counted in this one."""
    for at in (NOW - 1, NOW, NOW + HOUR - 1, NOW + HOUR):
        parts.exchange(mint(now=at), at)
    found = check(parts, "hour")
    assert (found.issued_events, found.counted, found.agree) == (2, 2, True)


def test_missing_event(parts: Parts) -> None:
    """A token that was counted but has no event is a mismatch."""
    parts.token()
    parts.token()
    with parts.state.writing() as connection:
        connection.execute("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)")
    found = check(parts)
    assert (found.agree, found.differing) == (False, (Mismatch(SUB, "app", 1, 2),))


def test_uncounted_event(parts: Parts) -> None:
    """An event that was never counted is a mismatch."""
    parts.token()
    record(parts, issued(9, principal=SUB), issued(10))
    found = check(parts)
    assert found.differing == (Mismatch(f"{CI}|repository_id:10", "app", 1, 0), Mismatch(SUB, "app", 2, 1))
    assert (found.complete, found.agree, found.issued_events, found.counted) == (True, False, 3, 1)


@pytest.mark.parametrize(("events", "repositories"), [(201, 1), (1, 201)])
def test_incomplete(parts: Parts, events: int, repositories: int) -> None:
    """A check that did not read everything is not complete, and reports no mismatch."""
    record(parts, *(issued(number) for number in range(events)))
    with parts.state.writing() as connection:
        start = NOW - NOW % DAY
        connection.executemany(
            "INSERT INTO counters (what, grant_name, principal, window, start, taken) VALUES ('tokens', 'app', ?, 'day', ?, 1)",
            [(f"{CI}|repository_id:{number}", start) for number in range(repositories)],
        )
    found = check(parts, bounds=Bounds(1, 200))
    assert (found.complete, found.agree, found.differing) == (False, False, ())
    assert check(parts, bounds=Bounds(2, 201)).complete


@dataclass
class Busy:
    """An audit while tokens are issued: one more at each read."""

    parts: Parts
    looks: list[int] = field(default_factory=list)

    def record(self, event: Event) -> None:
        self.parts.ledger.record(event)

    def page(self, query: Query) -> Page:
        return self.parts.ledger.page(query)

    def count_issued(self, since: int, until: int, at_most: int) -> IssuedCount:
        self.looks.append(since)
        self.parts.token()
        found = self.parts.ledger.count_issued(since, until, at_most)
        self.parts.token(repository_id="5")
        return found


def test_issued_during_check(parts: Parts) -> None:
    """Tokens issued while a running window is checked are no mismatch."""
    parts.token()
    busy = Busy(parts)
    found = completeness.check(Span.containing("day", NOW, NOW), busy, SqliteUsage(parts.state), NOW)
    assert (found.agree, found.issued_events, found.counted, len(busy.looks)) == (True, 2, 3, 1)


def test_mismatch_in_running_window(parts: Parts) -> None:
    """A mismatch in a running window is found."""
    record(parts, issued(9))
    assert check(parts, now=NOW).differing == (Mismatch(f"{CI}|repository_id:9", "app", 1, 0),)


# the window


@pytest.mark.parametrize(("window", "length"), [("hour", HOUR), ("day", DAY)])
def test_default_window(window: str, length: int) -> None:
    """Without a start, it is the newest window that is over."""
    span = Span.containing(window, None, NOW + 5)
    assert span.end <= NOW + 5 < span.end + length
    assert span.end - span.start == length


def test_window_containing() -> None:
    """Any time within a window selects it."""
    assert Span.containing("hour", NOW + 59, NOW + 60) == Span.containing("hour", NOW, NOW + 60) == Span("hour", NOW)


def test_window_bounds() -> None:
    """A window can be checked from its beginning until its counters may be gone."""
    ended = Span("hour", NOW).end
    assert Span.containing("hour", NOW, ended + COUNTERS_KEPT["hour"] - 1) == Span("hour", NOW)
    for at, now in ((NOW, ended + COUNTERS_KEPT["hour"]), (NOW + HOUR, NOW), (0, NOW), (99_999_999_999, NOW)):
        with pytest.raises(
            ValueError, match="start must not be in the future, or in a window that ended 3 days ago or earlier"
        ):
            Span.containing("hour", at, now)


def test_check_unavailable(parts: Parts) -> None:
    """Unavailable state is an error, never agreement."""
    (parts.directory / "state.db").rename(parts.directory / "gone.db")
    with pytest.raises(Unavailable):
        check(parts)
