"""The rules of `chalicelib.exchange.ledger.Ledger`, whatever it is kept in."""

from __future__ import annotations

import pytest

from chalicelib import quota
from chalicelib.audit import Query
from chalicelib.errors import Refusal
from chalicelib.exchange.ledger import Issuance
from chalicelib.policy.grants import CANDIDATES
from chalicelib.providers.keys import KeyConfig
from chalicelib.quota import WINDOWS, Limit
from chalicelib.revocation import EVERYTHING, RevocationState, RevocationTarget
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW, SIX, SUB, grant, issuance, issuer, lock, put_in_force, wanted
from tests.every_event import every_event

HOURLY = Limit(2, "hour")


def _refused(adapters: Adapters, wanted: Issuance, now: int = NOW) -> Refusal:
    with pytest.raises(Refusal) as caught:
        adapters.ledger.issue(wanted, now)
    return caught.value


def _written(adapters: Adapters, issued: Issuance) -> int:
    return len(every_event(adapters.ledger, Query({"request_id": issued.event.request_id})))


def _tokens(adapters: Adapters, now: int = NOW) -> list[int]:
    return [adapters.counted(counter)[0] for counter in quota.counters("tokens", "ci", SUB, now)]


class TestFind:
    """What an exchange reads."""

    def test_nothing_stored_is_epoch_0(self, adapters: Adapters) -> None:
        """A target for which nothing is stored has epoch 0 and no blocks, and does not exist."""
        found = adapters.ledger.find(wanted(*SIX.values()))
        assert found.states == dict.fromkeys(SIX.values(), RevocationState())
        assert (found.issuer, found.key, found.grants) == (None, None, ())

    def test_the_issuer_and_the_key_bring_what_the_policy_says_of_them(self, adapters: Adapters) -> None:
        put_in_force(adapters.control)
        found = adapters.ledger.find(wanted())
        assert (found.issuer, found.key) == (issuer(), KeyConfig("openai"))

    def test_a_thing_asked_for_twice_is_found_once(self, adapters: Adapters) -> None:
        assert adapters.ledger.find(wanted(EVERYTHING, EVERYTHING)).states == {EVERYTHING: RevocationState()}

    def test_unnamed_candidates(self, adapters: Adapters) -> None:
        """Without a named grant, the candidates are all grants of this issuer and key."""
        elsewhere = "https://other.example.com"
        others = (grant("c", key="other"), grant("d", issuer=elsewhere))
        put_in_force(
            adapters.control,
            grant("a"),
            grant("b"),
            *others,
            keys=("openai", "other"),
            issuers=(issuer(), issuer(elsewhere)),
        )
        found = adapters.ledger.find(wanted()).grants
        assert found is not None
        assert sorted((one.name, state.epoch) for one, state in found) == [("a", 0), ("b", 0)]
        assert {one.name: one for one, _ in found} == {name: grant(name) for name in ("a", "b")}

    def test_a_named_grant_is_the_only_candidate(self, adapters: Adapters) -> None:
        put_in_force(adapters.control, grant("a"), grant("b"))
        found = adapters.ledger.find(wanted(grant="b")).grants
        assert [one for one, _ in found or ()] == [grant("b")]

    def test_a_named_grant_that_is_not_there_is_no_candidate(self, adapters: Adapters) -> None:
        put_in_force(adapters.control, grant("a"))
        assert adapters.ledger.find(wanted(grant="b")).grants == ()

    def test_a_candidate_comes_with_its_blocks_and_epoch(self, adapters: Adapters) -> None:
        put_in_force(adapters.control, grant("a"))
        made = samples.revocation("grant", "a")
        adapters.control.revoke(made, samples.event("revocation.made"))
        for name in (None, "a"):
            found = adapters.ledger.find(wanted(grant=name)).grants
            assert [(one.epoch, one.blocks) for _, one in found or ()] == [(1, ((made.id, None),))], name

    @pytest.mark.parametrize(("number", "too_many"), [(CANDIDATES, False), (CANDIDATES + 1, True)])
    def test_a_hundred_candidates_are_tried_and_one_more_is_too_many(
        self, adapters: Adapters, number: int, *, too_many: bool
    ) -> None:
        grants = [grant(f"g{index}") for index in range(number)]
        put_in_force(adapters.control, *grants)
        found = adapters.ledger.find(wanted()).grants
        assert (found is None) is too_many
        assert too_many or len(found or ()) == number
        assert [one.name for one, _ in adapters.ledger.find(wanted(grant="g7")).grants or ()] == ["g7"]


class TestTaken:
    """What is told of the tokens that a caller has had."""

    @pytest.mark.parametrize("named", ["ci", None])
    def test_the_tokens_of_each_window_are_told(self, adapters: Adapters, named: str | None) -> None:
        put_in_force(adapters.control, grant())
        for now in (NOW, NOW + 59, NOW + 61, NOW + 3600):
            adapters.ledger.issue(issuance(now=now), now)
        found = adapters.ledger.find(wanted(grant=named, now=NOW + 3601)).taken
        counted = quota.counters("tokens", "ci", SUB, NOW + 3601)
        assert [found.get(one, 0) for one in counted] == [1, 1, 4]

    @pytest.mark.parametrize("named", ["ci", None])
    def test_principal_without_tokens_has_none(self, adapters: Adapters, named: str | None) -> None:
        """A principal that has had no tokens is told of none."""
        put_in_force(adapters.control, grant())
        adapters.ledger.issue(issuance(), NOW)
        other = RevocationTarget("principal", f"{SUB}-2")
        found = adapters.ledger.find(wanted(EVERYTHING, other, grant=named)).taken
        assert [one for one, count in found.items() if count] == []

    def test_unnamed_the_tokens_of_every_candidate_are_told_apart(self, adapters: Adapters) -> None:
        put_in_force(adapters.control, grant("a"), grant("b"))
        for name in ("a", "b", "b"):
            adapters.ledger.issue(issuance(name=name), NOW)
        found = adapters.ledger.find(wanted()).taken
        told = {name: found.get(quota.counters("tokens", name, SUB, NOW)[2], 0) for name in ("a", "b", "c")}
        assert told == {"a": 1, "b": 2, "c": 0}

    def test_a_refused_token_is_told_as_none(self, adapters: Adapters) -> None:
        put_in_force(adapters.control, grant())
        adapters.ledger.record(samples.event("token.refused", principal=SUB, grant="ci", reason="replayed"))
        assert sum(adapters.ledger.find(wanted(grant="ci")).taken.values()) == 0


class TestIssue:
    """What is written with a token: all of it or nothing."""

    def test_an_issuance_writes_everything(self, adapters: Adapters) -> None:
        """An issuance writes its event, counts in every window, and takes its lock."""
        issued = issuance(HOURLY, lock=lock())
        assert adapters.ledger.issue(issued, NOW) is None
        assert every_event(adapters.ledger, Query()) == [issued.event]
        assert _tokens(adapters) == [1, 1, 1]
        assert _refused(adapters, issuance(HOURLY, lock=lock())).reason == "replayed"

    def test_a_token_beyond_a_limit_is_refused_with_the_time_to_wait(self, adapters: Adapters) -> None:
        for _ in range(2):
            adapters.ledger.issue(issuance(HOURLY), NOW)
        refused = _refused(adapters, issuance(HOURLY, now=NOW + 600), NOW + 600)
        assert (refused.reason, refused.error, refused.status) == ("quota_tokens", "quota_exceeded", 429)
        assert refused.retry_after == 3000

    def test_a_token_beyond_a_limit_counts_nothing(self, adapters: Adapters) -> None:
        for _ in range(2):
            adapters.ledger.issue(issuance(HOURLY), NOW)
        for _ in range(5):
            assert _refused(adapters, issuance(HOURLY)).reason == "quota_tokens"
        assert _tokens(adapters) == [2, 2, 2]
        assert adapters.ledger.issue(issuance(Limit(3, "hour")), NOW) is None

    def test_a_token_beyond_a_limit_takes_no_lock_and_writes_no_event(self, adapters: Adapters) -> None:
        for _ in range(2):
            adapters.ledger.issue(issuance(HOURLY), NOW)
        beyond = issuance(HOURLY, lock=lock())
        assert _refused(adapters, beyond).reason == "quota_tokens"
        assert _written(adapters, beyond) == 0
        assert adapters.ledger.issue(issuance(Limit(9, "hour"), lock=lock()), NOW) is None

    def test_of_several_limits_the_one_that_lasts_longest_is_named(self, adapters: Adapters) -> None:
        limits = (Limit(1, "minute"), Limit(1, "day"), Limit(1, "hour"))
        adapters.ledger.issue(issuance(*limits), NOW)
        refused = _refused(adapters, issuance(*limits))
        assert (refused.retry_after, "1/day" in refused.description) == (86400, True)

    @pytest.mark.parametrize("window", WINDOWS)
    def test_a_window_opens_again_when_it_ends_and_not_a_second_before(self, adapters: Adapters, window: str) -> None:
        limit, ends = Limit(1, window), NOW + WINDOWS[window]
        adapters.ledger.issue(issuance(limit), NOW)
        assert _refused(adapters, issuance(limit, now=ends - 1), ends - 1).retry_after == 1
        assert adapters.ledger.issue(issuance(limit, now=ends), ends) is None

    def test_grants_are_counted_apart(self, adapters: Adapters) -> None:
        limit = Limit(1, "day")
        assert adapters.ledger.issue(issuance(limit, name="a"), NOW) is None
        assert adapters.ledger.issue(issuance(limit, name="b"), NOW) is None
        assert _refused(adapters, issuance(limit, name="a")).reason == "quota_tokens"


class TestReplay:
    """Locks: a subject token is used once, unless the same request is repeated."""

    def test_a_lock_used_twice_is_a_replay_and_writes_nothing(self, adapters: Adapters) -> None:
        adapters.ledger.issue(issuance(HOURLY, lock=lock()), NOW)
        again = issuance(HOURLY, lock=lock())
        refused = _refused(adapters, again)
        assert (refused.reason, refused.error, refused.status) == ("replayed", "invalid_grant", 400)
        assert (_written(adapters, again), _tokens(adapters)) == (0, [1, 1, 1])

    def test_a_retry_gets_the_first_claims_and_writes_nothing(self, adapters: Adapters) -> None:
        first = lock(idempotency="key-1")
        adapters.ledger.issue(issuance(HOURLY, lock=first), NOW)
        for now in (NOW, NOW + 899):
            again = issuance(HOURLY, lock=lock(idempotency="key-1"), now=now)
            assert adapters.ledger.issue(again, now) == first.claims
            assert _written(adapters, again) == 0
        assert _tokens(adapters) == [1, 1, 1]

    def test_a_retry_is_answered_when_the_quota_is_used_up(self, adapters: Adapters) -> None:
        first = lock(idempotency="key-1")
        adapters.ledger.issue(issuance(Limit(1, "day"), lock=first), NOW)
        assert adapters.ledger.issue(issuance(Limit(1, "day"), lock=lock(idempotency="key-1")), NOW) == first.claims

    @pytest.mark.parametrize(
        "other",
        [
            {"idempotency": "key-1", "request": "request-2"},
            {"idempotency": "key-2"},
            {"idempotency": ""},
        ],
        ids=["another request", "another key", "no key"],
    )
    def test_another_request_is_a_replay(self, adapters: Adapters, other: dict[str, str]) -> None:
        """Anything but the same Idempotency-Key with the same request is a replay."""
        adapters.ledger.issue(issuance(HOURLY, lock=lock(idempotency="key-1")), NOW)
        assert _refused(adapters, issuance(HOURLY, lock=lock(**other))).reason == "replayed"

    def test_a_retry_after_the_issued_token_has_expired_is_a_replay(self, adapters: Adapters) -> None:
        adapters.ledger.issue(issuance(HOURLY, lock=lock(idempotency="key-1")), NOW)
        assert _refused(adapters, issuance(HOURLY, lock=lock(idempotency="key-1")), NOW + 900).reason == "replayed"

    def test_a_lock_holds_to_its_last_second(self, adapters: Adapters) -> None:
        """A lock holds to its last second, and can be taken again after it."""
        held = lock()
        adapters.ledger.issue(issuance(HOURLY, lock=held), NOW)
        assert _refused(adapters, issuance(HOURLY, lock=lock()), held.expires).reason == "replayed"
        later = held.expires + 1
        assert adapters.ledger.issue(issuance(HOURLY, lock=lock(expires=later + 960)), later) is None
        assert _refused(adapters, issuance(HOURLY, lock=lock()), later).reason == "replayed"

    def test_different_locks_do_not_meet(self, adapters: Adapters) -> None:
        assert adapters.ledger.issue(issuance(HOURLY, lock=lock("subject-1")), NOW) is None
        assert adapters.ledger.issue(issuance(HOURLY, lock=lock("subject-2")), NOW) is None
