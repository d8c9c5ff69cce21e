"""The rules of `chalicelib.exchange.ledger.Pins` and of the pin in an issuance, whatever they are kept in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chalicelib import quota
from chalicelib.audit import Query
from chalicelib.errors import Refusal
from chalicelib.exchange.ledger import Issuance, Lock, Pin
from chalicelib.quota import Limit
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW, SUB, issuance, lock

ROLE = "arn:aws:iam::123456789012:role/billing"
FIRST, AGAIN = "AROAFIRST00000000001", "AROAAGAIN00000000002"
HOURLY = Limit(9, "hour")


def _pinned(unique_id: str, principal: str = ROLE, limit: Limit = HOURLY, lock: Lock | None = None) -> Issuance:
    return replace(issuance(limit, lock=lock), pin=Pin(principal, unique_id))


def _issues(adapters: Adapters, unique_id: str, principal: str = ROLE) -> bool:
    """Whether a token is issued to this principal, and not refused because it is another one of the same name."""
    try:
        adapters.ledger.issue(_pinned(unique_id, principal), NOW)
    except Refusal as refusal:
        assert refusal.reason == "identity_changed"  # noqa: PT017  either outcome may be right
        return False
    return True


def _refused(adapters: Adapters, wanted: Issuance) -> Refusal:
    with pytest.raises(Refusal) as caught:
        adapters.ledger.issue(wanted, NOW)
    return caught.value


def _repin(adapters: Adapters, unique_id: str, principal: str = ROLE) -> str:
    """Bind by hand; return the id of the event."""
    event = samples.event("principal.pinned", principal=principal, actor="ada", detail={"unique_id": unique_id})
    adapters.control.pin(principal, unique_id, event)
    return event.id


def _tokens(adapters: Adapters) -> list[int]:
    return [adapters.counted(counter)[0] for counter in quota.counters("tokens", "ci", SUB, NOW)]


class TestFirstUse:
    """The first token binds a principal to its unique id."""

    def test_the_same_unique_id_passes_again_and_again(self, adapters: Adapters) -> None:
        assert [_issues(adapters, FIRST) for _ in range(3)] == [True] * 3

    def test_another_unique_id_of_the_same_name_is_refused(self, adapters: Adapters) -> None:
        _issues(adapters, FIRST)
        refused = _refused(adapters, _pinned(AGAIN))
        assert (refused.reason, refused.error, refused.status) == ("identity_changed", "invalid_grant", 400)
        assert FIRST not in refused.description

    @pytest.mark.parametrize("other", [FIRST.lower(), FIRST[:-1], FIRST + "1", " " + FIRST, ""])
    def test_a_unique_id_is_compared_whole_and_as_it_is(self, adapters: Adapters, other: str) -> None:
        _issues(adapters, FIRST)
        assert not _issues(adapters, other)

    def test_another_unique_id_writes_nothing(self, adapters: Adapters) -> None:
        _issues(adapters, FIRST)
        before = adapters.ledger.page(Query()).events
        for _ in range(3):
            assert _refused(adapters, _pinned(AGAIN, lock=lock())).reason == "identity_changed"
        assert (adapters.ledger.page(Query()).events, _tokens(adapters)) == (before, [1, 1, 1])
        assert _issues(adapters, FIRST)
        assert adapters.ledger.issue(_pinned(FIRST, lock=lock()), NOW) is None  # the lock was free

    def test_another_unique_id_cannot_have_a_retry_answered(self, adapters: Adapters) -> None:
        adapters.ledger.issue(_pinned(FIRST, lock=lock(idempotency="key-1")), NOW)
        again = _pinned(AGAIN, lock=lock(idempotency="key-1"))
        assert _refused(adapters, again).reason == "identity_changed"

    def test_a_retry_of_the_same_unique_id_is_answered(self, adapters: Adapters) -> None:
        first = lock(idempotency="key-1")
        adapters.ledger.issue(_pinned(FIRST, lock=first), NOW)
        assert adapters.ledger.issue(_pinned(FIRST, lock=lock(idempotency="key-1")), NOW) == first.claims

    def test_a_token_beyond_the_quota_binds_nothing(self, adapters: Adapters) -> None:
        adapters.ledger.issue(issuance(HOURLY), NOW)
        assert _refused(adapters, _pinned(AGAIN, limit=Limit(1, "hour"))).reason == "quota_tokens"
        assert _issues(adapters, FIRST)

    def test_a_replay_binds_nothing(self, adapters: Adapters) -> None:
        adapters.ledger.issue(issuance(HOURLY, lock=lock()), NOW)
        assert _refused(adapters, _pinned(AGAIN, lock=lock())).reason == "replayed"
        assert _issues(adapters, FIRST)

    def test_principals_are_bound_apart(self, adapters: Adapters) -> None:
        other = ROLE.replace("123456789012", "210987654321")
        assert _issues(adapters, FIRST)
        assert _issues(adapters, AGAIN, other)
        assert not _issues(adapters, FIRST, other)

    def test_no_pin_binds_nothing(self, adapters: Adapters) -> None:
        """An issuance without a pin neither binds a unique id nor is held to one."""
        _issues(adapters, FIRST, SUB)
        assert adapters.ledger.issue(issuance(HOURLY), NOW) is None


class TestPin:
    """An operator binds a principal, whatever it was bound to."""

    def test_the_new_id_passes_the_old_does_not(self, adapters: Adapters) -> None:
        """After binding again, the new unique id passes and the old one is refused."""
        _issues(adapters, FIRST)
        _repin(adapters, AGAIN)
        assert (_issues(adapters, AGAIN), _issues(adapters, FIRST)) == (True, False)

    def test_what_was_bound_anew_can_be_bound_back(self, adapters: Adapters) -> None:
        _issues(adapters, FIRST)
        _repin(adapters, AGAIN)
        _repin(adapters, FIRST)
        assert (_issues(adapters, AGAIN), _issues(adapters, FIRST)) == (False, True)

    def test_a_principal_can_be_bound_before_its_first_use(self, adapters: Adapters) -> None:
        _repin(adapters, AGAIN)
        assert (_issues(adapters, FIRST), _issues(adapters, AGAIN)) == (False, True)

    def test_nobody_else_is_bound_anew(self, adapters: Adapters) -> None:
        other = ROLE + "-2"
        _issues(adapters, FIRST)
        _issues(adapters, FIRST, other)
        _repin(adapters, AGAIN)
        assert _issues(adapters, FIRST, other)

    def test_each_binding_by_hand_writes_its_event(self, adapters: Adapters) -> None:
        ids = [_repin(adapters, one) for one in (FIRST, AGAIN, AGAIN)]
        events = adapters.ledger.page(Query({"kind": "principal.pinned", "principal": ROLE})).events
        assert {one.id for one in events} == set(ids), "within one second, the order is the store's"
        assert {one.actor for one in events} == {"ada"}

    def test_binding_by_hand_keeps_a_revocation_in_force(self, adapters: Adapters) -> None:
        made = samples.revocation("principal", SUB)
        adapters.control.revoke(made, samples.event("revocation.made"))
        _repin(adapters, AGAIN, SUB)
        state = adapters.ledger.find(samples.wanted()).states[samples.SIX["principal"]]
        assert (state.epoch, state.blocks) == (1, ((made.id, None),))
