"""The rules of `chalicelib.audit.Audit`, whatever it is kept in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from chalicelib import quota
from chalicelib.audit import FILTERS, REPEAT_SECONDS, Event, Query
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW, SUB
from tests.dynamodb_stage import patiently
from tests.every_event import every_event


def _fill(adapters: Adapters, *events: Event) -> None:
    for event in events:
        adapters.ledger.record(event)


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
        assert full in every_event(adapters.ledger, Query())
        assert len(every_event(adapters.ledger, Query())) == 2


class TestRepeats:
    """A refusal of the same subject token for the same reason."""

    def test_the_first_is_written_and_the_others_are_counted(self, adapters: Adapters) -> None:
        """One event, as the first was, with how often it was repeated; each one counts as a refused token."""
        events = [samples.event("token.refused", principal=SUB, reason="no_grant", subject="s") for _ in range(4)]
        _fill(adapters, *events)
        (found,) = every_event(adapters.ledger, Query())
        assert found == replace(events[0], repeated=3)
        counters = quota.counters("tokens", events[0].grant, SUB, NOW)
        assert {adapters.counted(counter) for counter in counters} == {(0, 4)}

    def test_the_unknown_are_counted_in_no_quota(self, adapters: Adapters) -> None:
        """Refusals without a principal are repeated as others are, and are no principal's refused tokens."""
        events = [samples.event("token.refused", principal="", reason="jti_missing", subject="s") for _ in range(3)]
        _fill(adapters, *events)
        (found,) = every_event(adapters.ledger, Query())
        assert found == replace(events[0], repeated=2)
        counters = quota.counters("tokens", events[0].grant, "", NOW)
        assert {adapters.counted(counter) for counter in counters} == {(0, 0)}

    def test_another_subject_is_another_event(self, adapters: Adapters) -> None:
        """Another subject, or none, is never counted in an event."""
        subjects = ("s", "t", "", "", "s")
        _fill(adapters, *(samples.event("token.refused", principal=SUB, reason="x", subject=one) for one in subjects))
        assert sorted(event.repeated for event in every_event(adapters.ledger, Query())) == [0, 0, 0, 1]

    def test_after_a_while_there_is_another_event(self, adapters: Adapters) -> None:
        """Past REPEAT_SECONDS the same refusal is an event again, in which the next ones are counted."""
        times = (0, REPEAT_SECONDS - 1, REPEAT_SECONDS, REPEAT_SECONDS + 1)
        sample = samples.event("token.refused", principal=SUB, reason="x", subject="s")
        _fill(adapters, *(replace(sample, id=f"{sample.id}{later}", at=NOW + later) for later in times))
        found = [(event.at - NOW, event.repeated) for event in every_event(adapters.ledger, Query())]
        assert found == [(REPEAT_SECONDS, 1), (0, 1)]

    def test_repeats_at_once_are_all_counted(self, adapters: Adapters) -> None:
        """Of refusals at the same time none is lost."""
        with ThreadPoolExecutor(4) as threads:
            list(
                threads.map(
                    lambda _: patiently(
                        lambda: _fill(adapters, samples.event("token.refused", principal=SUB, reason="x", subject="s"))
                    ),
                    range(8),
                )
            )
        (found,) = every_event(adapters.ledger, Query())
        assert found.repeated == 7


class TestPage:
    """Reading."""

    def test_an_empty_audit_is_one_empty_page(self, adapters: Adapters) -> None:
        page = adapters.ledger.page(Query())
        assert (page.events, page.next) == ((), "")

    def test_events_come_newest_first(self, adapters: Adapters) -> None:
        events = [samples.event(at=NOW + number) for number in range(5)]
        _fill(adapters, *events)
        assert every_event(adapters.ledger, Query()) == events[::-1]

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
    def test_pages_follow_one_another_without_gap_or_repetition(self, adapters: Adapters, limit: int) -> None:
        events = [samples.event(at=NOW + number) for number in range(7)]
        _fill(adapters, *events)
        assert every_event(adapters.ledger, Query(limit=limit)) == events[::-1]

    def test_events_of_one_second_are_paged_without_gap_or_repetition(self, adapters: Adapters) -> None:
        events = [samples.event() for _ in range(7)]
        _fill(adapters, *events)
        found = every_event(adapters.ledger, Query(limit=2))
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
        assert every_event(adapters.ledger, Query({name: values[0]}, limit=1)) == [hit]

    def test_filters_are_joined(self, adapters: Adapters) -> None:
        hit = samples.event(principal="p", grant="g")
        _fill(adapters, hit, samples.event(principal="p"), samples.event(grant="g"))
        assert every_event(adapters.ledger, Query({"principal": "p", "grant": "g"})) == [hit]

    def test_since_is_included_and_until_is_not(self, adapters: Adapters) -> None:
        events = [samples.event(at=NOW + number) for number in range(4)]
        _fill(adapters, *events)
        assert every_event(adapters.ledger, Query(since=NOW + 1, until=NOW + 3)) == [events[2], events[1]]

    @pytest.mark.parametrize("cursor", ["x", "-1", "1.5", " 1", "9" * 30, "9" * 5000, "\u0663", "1; DROP TABLE audit"])
    def test_a_malformed_cursor_is_a_value_error(self, adapters: Adapters, cursor: str) -> None:
        _fill(adapters, samples.event())
        with pytest.raises(ValueError, match="cursor"):
            adapters.ledger.page(Query(after=cursor))

    def test_a_filter_that_is_none_is_a_value_error(self, adapters: Adapters) -> None:
        with pytest.raises(ValueError, match="filter"):
            adapters.ledger.page(Query({"reason": "no_grant"}))


class TestCount:
    """Counting tokens issued."""

    def test_tokens_are_counted_by_principal_and_grant(self, adapters: Adapters) -> None:
        """Only tokens issued within the time are counted: its start is included, its end is not."""
        issued = [("a", "x", NOW - 1), ("a", "x", NOW), ("a", "x", NOW + 9), ("a", "y", NOW + 1), ("b", "x", NOW + 10)]
        _fill(adapters, *(samples.event(principal=who, grant=grant, at=at) for who, grant, at in issued))
        _fill(adapters, samples.event("token.refused", principal="a", grant="x", at=NOW, reason="no_grant"))
        found = adapters.ledger.count_issued(NOW, NOW + 10, 100)
        assert (found.tokens, found.complete) == ({("a", "x"): 2, ("a", "y"): 1}, True)

    def test_no_more_are_counted_than_asked_for(self, adapters: Adapters) -> None:
        """Of more events than asked for not all are counted, and that is said."""
        _fill(adapters, *(samples.event(principal="a", grant="x", at=NOW + second) for second in range(3)))
        assert adapters.ledger.count_issued(NOW, NOW + 9, 3).complete
        assert not adapters.ledger.count_issued(NOW, NOW + 9, 2).complete
        assert adapters.ledger.count_issued(NOW + 9, NOW + 10, 2).tokens == {}
