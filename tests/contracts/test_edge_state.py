"""The rules of `chalicelib.edge.state.EdgeState`, whatever it is kept in."""

from __future__ import annotations

import pytest

from chalicelib import quota
from chalicelib.providers.keys import KeyConfig
from chalicelib.quota import EVERYBODY, WINDOWS
from chalicelib.revocation import RevocationState
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW, SIX, SUB, calls, grant, put_in_force


class TestReadAndCount:
    """One round trip: six states, and which number the call is."""

    def test_six_states_of_an_empty_store(self, adapters: Adapters) -> None:
        """All six states are there though nothing was ever written."""
        snapshot = adapters.edge_state.read_and_count(SIX, calls())
        assert snapshot.states == dict.fromkeys(SIX, RevocationState())
        assert (snapshot.grant, snapshot.key, snapshot.signing_keys) == (None, None, ())

    def test_what_administrators_stored_is_read(self, adapters: Adapters) -> None:
        put_in_force(adapters.control, grant())
        adapters.control.list_signing_keys(("kid-1", "kid-2"))
        adapters.control.set_key("openai", samples.key_version("v1"), samples.event("key.set"))
        snapshot = adapters.edge_state.read_and_count(SIX, calls())
        assert (snapshot.grant, snapshot.key) == (grant(), KeyConfig("openai", "v1"))
        assert snapshot.signing_keys == ("kid-1", "kid-2")

    @pytest.mark.parametrize("scope", SIX)
    def test_a_revocation_shows_in_one_state_alone(self, adapters: Adapters, scope: str) -> None:
        put_in_force(adapters.control, grant())
        made = samples.revocation(scope, SIX[scope].id)
        adapters.control.revoke(made, samples.event("revocation.made"))
        states = adapters.edge_state.read_and_count(SIX, calls()).states
        assert {name for name, one in states.items() if one.blocked(NOW)} == {scope}
        assert {name: one.epoch for name, one in states.items() if one.epoch} == {scope: 1}

    def test_calls_are_numbered_from_one_in_every_window(self, adapters: Adapters) -> None:
        numbers = [adapters.edge_state.read_and_count(SIX, calls()).numbers for _ in range(3)]
        assert numbers == [dict.fromkeys(WINDOWS, number) for number in (1, 2, 3)]

    @pytest.mark.parametrize("window", WINDOWS)
    def test_a_window_starts_anew_when_it_ends_and_not_a_second_before(self, adapters: Adapters, window: str) -> None:
        adapters.edge_state.read_and_count(SIX, calls())
        ends = NOW + WINDOWS[window]
        assert adapters.edge_state.read_and_count(SIX, calls(ends - 1)).numbers[window] == 2
        assert adapters.edge_state.read_and_count(SIX, calls(ends)).numbers[window] == 1

    def test_calls_and_tokens_are_counted_apart(self, adapters: Adapters) -> None:
        adapters.ledger.issue(samples.issuance(), NOW)
        assert adapters.edge_state.read_and_count(SIX, calls()).numbers["day"] == 1

    def test_principals_and_grants_are_counted_apart(self, adapters: Adapters) -> None:
        adapters.edge_state.read_and_count(SIX, calls())
        assert adapters.edge_state.read_and_count(SIX, calls(name="other")).numbers["day"] == 1


class TestTotal:
    """The calls of all callers of a grant, counted in the same round trip."""

    def test_a_call_is_numbered_among_all(self, adapters: Adapters) -> None:
        other = quota.counters("calls", "ci", f"{SUB}-2", NOW)
        total = quota.counters("calls", "ci", EVERYBODY, NOW)
        snapshots = [adapters.edge_state.read_and_count(SIX, one, total) for one in (calls(), other, calls())]
        assert [one.numbers["day"] for one in snapshots] == [1, 1, 2]
        assert [one.total for one in snapshots] == [dict.fromkeys(WINDOWS, number) for number in (1, 2, 3)]

    def test_without_a_total_none_is_counted(self, adapters: Adapters) -> None:
        assert adapters.edge_state.read_and_count(SIX, calls()).total == {}
        total = quota.counters("calls", "ci", EVERYBODY, NOW)
        assert adapters.edge_state.count(total) == dict.fromkeys(WINDOWS, 1)

    def test_both_are_given_back_at_once(self, adapters: Adapters) -> None:
        total = quota.counters("calls", "ci", EVERYBODY, NOW)
        for _ in range(3):
            adapters.edge_state.read_and_count(SIX, calls(), total)
        adapters.edge_state.give_back(calls() + total, "quota_calls")
        assert {adapters.counted(one) for one in calls() + total} == {(2, 1)}


class TestGiveBack:
    """What a refused call leaves behind."""

    def test_a_number_given_back_is_given_out_again(self, adapters: Adapters) -> None:
        adapters.edge_state.read_and_count(SIX, calls())
        adapters.edge_state.read_and_count(SIX, calls())
        adapters.edge_state.give_back(calls(), "a_test")
        assert adapters.edge_state.read_and_count(SIX, calls()).numbers == dict.fromkeys(WINDOWS, 2)

    def test_a_number_given_back_is_counted_as_refused(self, adapters: Adapters) -> None:
        for _ in range(3):
            adapters.edge_state.read_and_count(SIX, calls())
        adapters.edge_state.give_back(calls(), "a_test")
        assert [adapters.counted(counter) for counter in calls()] == [(2, 1)] * 3

    def test_refusals_of_the_minute_are_told(self, adapters: Adapters) -> None:
        """Giving back returns how many calls of the principal were refused in its minute, for all reasons."""
        total = quota.counters("calls", "ci", EVERYBODY, NOW)
        other = quota.counters("calls", "ci", f"{SUB}0", NOW)
        later = quota.counters("calls", "ci", SUB, NOW + 60)
        for given_back in (calls() + total, calls() + total, calls(), other, later):  # calls() are SUB's
            own, of_all = given_back[:3], given_back[3:]
            adapters.edge_state.read_and_count(SIX, own, of_all)
        give_back = adapters.edge_state.give_back
        assert give_back(calls() + total, "a_test") == 1
        assert give_back(calls() + total, "another") == 2
        assert give_back(other, "a_test") == 1
        assert give_back(later, "a_test") == 1
        assert give_back(calls(), "a_test") == 3

    def test_what_was_not_held_is_refused_alone(self, adapters: Adapters) -> None:
        """A call that took no number is counted as refused, and nothing is taken off."""
        adapters.edge_state.read_and_count(SIX, calls())
        assert [adapters.edge_state.give_back(calls(), "a_test", held=False) for _ in range(2)] == [1, 2]
        assert [adapters.counted(counter) for counter in calls()] == [(1, 2)] * 3

    def test_giving_back_never_goes_below_zero(self, adapters: Adapters) -> None:
        adapters.edge_state.give_back(calls(), "a_test")
        adapters.edge_state.read_and_count(SIX, calls())
        for _ in range(3):
            adapters.edge_state.give_back(calls(), "a_test")
        assert {adapters.counted(counter)[0] for counter in calls()} == {0}
        assert adapters.edge_state.read_and_count(SIX, calls()).numbers == dict.fromkeys(WINDOWS, 1)


class TestAnotherTry:
    """A call that was refused by a limit looks again, and may be counted once more."""

    def test_what_every_counter_holds_is_told(self, adapters: Adapters) -> None:
        total = quota.counters("calls", "ci", EVERYBODY, NOW)
        for _ in range(3):
            adapters.edge_state.read_and_count(SIX, calls(), total)
        adapters.edge_state.give_back(calls(), "a_test")
        assert adapters.edge_state.taken(calls() + total) == dict.fromkeys(calls(), 2) | dict.fromkeys(total, 3)

    def test_a_counter_that_nothing_was_added_to_holds_none(self, adapters: Adapters) -> None:
        assert adapters.edge_state.taken(calls()) == dict.fromkeys(calls(), 0)

    def test_counting_again_undoes_the_refusal(self, adapters: Adapters) -> None:
        """A call that is counted again is no longer counted as refused."""
        total = quota.counters("calls", "ci", EVERYBODY, NOW)
        for _ in range(2):
            adapters.edge_state.read_and_count(SIX, calls(), total)
            adapters.edge_state.give_back(calls() + total, "quota_calls")
        snapshot = adapters.edge_state.read_and_count(SIX, calls(), total, "quota_calls")
        assert (snapshot.numbers, snapshot.total) == (dict.fromkeys(WINDOWS, 1), dict.fromkeys(WINDOWS, 1))
        assert {adapters.counted(one) for one in calls() + total} == {(1, 1)}
