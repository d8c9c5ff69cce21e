"""The rules of `chalicelib.audit.Audit`, whatever it is kept in."""

from __future__ import annotations

import pytest

from chalicelib.audit import FILTERS, Event, Query
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW


def _fill(adapters: Adapters, *events: Event) -> None:
    for event in events:
        adapters.ledger.record(event)


def _all(adapters: Adapters, query: Query) -> list[Event]:
    """Follow the cursors to the end."""
    found: list[Event] = []
    while True:
        page = adapters.ledger.page(query)
        assert len(page.events) <= query.limit
        found += page.events
        if not page.next:
            return found
        query = Query(query.equals, query.since, query.until, page.next, query.limit)


class TestRecord:
    """Writing one event alone."""

    def test_every_event_written_reads_back_equal(self, adapters: Adapters) -> None:
        full = Event(
            id="event-1",
            at=NOW,
            kind="token.refused",
            request_id="request-1",
            principal="https://ci.example.com|sub:ünï\u2028🔑",
            principal_name="octo-org/octo-repo",
            issuer="https://ci.example.com",
            key="openai",
            grant="ci",
            jti="jti-1",
            reason="no_grant",
            actor="arn:aws:iam::123456789012:user/admin",
            claims={"sub": "x", "n": 2**53, "yes": True, "none": None, "list": ["a", {"b": [1.5]}], 'q"\\': "'"},
            detail={"revocation": "r", "why": "a 'quoted' reason; DROP TABLE audit"},
        )
        _fill(adapters, full, samples.event("key.set"))
        assert full in adapters.ledger.page(Query()).events
        assert len(adapters.ledger.page(Query()).events) == 2


class TestPage:
    """Reading."""

    def test_an_empty_audit_is_one_empty_page(self, adapters: Adapters) -> None:
        page = adapters.ledger.page(Query())
        assert (page.events, page.next) == ((), "")

    def test_events_come_newest_first(self, adapters: Adapters) -> None:
        events = [samples.event(at=NOW + number) for number in range(5)]
        _fill(adapters, *events)
        assert list(adapters.ledger.page(Query()).events) == events[::-1]

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
    def test_pages_follow_one_another_without_gap_or_repetition(self, adapters: Adapters, limit: int) -> None:
        events = [samples.event(at=NOW + number) for number in range(7)]
        _fill(adapters, *events)
        assert _all(adapters, Query(limit=limit)) == events[::-1]

    def test_events_of_one_second_are_paged_without_gap_or_repetition(self, adapters: Adapters) -> None:
        events = [samples.event() for _ in range(7)]
        _fill(adapters, *events)
        found = _all(adapters, Query(limit=2))
        assert sorted(one.id for one in found) == sorted(one.id for one in events)

    def test_a_full_last_page_has_no_cursor(self, adapters: Adapters) -> None:
        _fill(adapters, samples.event(), samples.event())
        assert adapters.ledger.page(Query(limit=2)).next == ""

    def test_an_event_written_between_two_pages_shifts_nothing(self, adapters: Adapters) -> None:
        events = [samples.event(at=NOW + number) for number in range(4)]
        _fill(adapters, *events)
        first = adapters.ledger.page(Query(limit=2))
        _fill(adapters, samples.event(at=NOW + 9))
        second = adapters.ledger.page(Query(limit=2, after=first.next))
        assert [*first.events, *second.events] == events[::-1]

    @pytest.mark.parametrize("name", FILTERS)
    def test_each_filter_takes_exact_values_only(self, adapters: Adapters, name: str) -> None:
        values = ("token.refused", "token.issued") if name == "kind" else ("StateQuery", "wanted")
        hit, other = (samples.event(**{"kind": "key.set", name: value}) for value in values)
        _fill(adapters, hit, other)
        assert _all(adapters, Query({name: values[0]}, limit=1)) == [hit]

    def test_filters_are_joined(self, adapters: Adapters) -> None:
        hit = samples.event(principal="p", grant="g")
        _fill(adapters, hit, samples.event(principal="p"), samples.event(grant="g"))
        assert _all(adapters, Query({"principal": "p", "grant": "g"})) == [hit]

    def test_since_is_included_and_until_is_not(self, adapters: Adapters) -> None:
        events = [samples.event(at=NOW + number) for number in range(4)]
        _fill(adapters, *events)
        assert _all(adapters, Query(since=NOW + 1, until=NOW + 3)) == [events[2], events[1]]

    @pytest.mark.parametrize("cursor", ["x", "-1", "1.5", " 1", "9" * 30, "9" * 5000, "\u0663", "1; DROP TABLE audit"])
    def test_a_malformed_cursor_is_a_value_error(self, adapters: Adapters, cursor: str) -> None:
        _fill(adapters, samples.event())
        with pytest.raises(ValueError, match="cursor"):
            adapters.ledger.page(Query(after=cursor))

    def test_a_filter_that_is_none_is_a_value_error(self, adapters: Adapters) -> None:
        with pytest.raises(ValueError, match="filter"):
            adapters.ledger.page(Query({"reason": "no_grant"}))
