"""The rules of `chalicelib.revocation.Revocations` and of the policy beside it, whatever they are kept in."""

from __future__ import annotations

import pytest

from chalicelib.audit import Query
from chalicelib.edge.state import Snapshot
from chalicelib.errors import Refusal
from chalicelib.exchange.ledger import StateQuery
from chalicelib.providers.keys import KeyConfig
from chalicelib.quota import Limit
from chalicelib.revocation import EVERYTHING, SCOPES, Revocation, RevocationState
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW, SIX, calls, grant, put_in_force


@pytest.fixture
def filled(adapters: Adapters) -> Adapters:
    """A store with a policy, whose issuer, key and grant can be revoked."""
    put_in_force(adapters.control, grant(), at=NOW - 1)
    adapters.control.list_signing_keys(("kid-1",))
    return adapters


def _snapshot(adapters: Adapters) -> Snapshot:
    return adapters.edge_state.read_and_count(SIX, calls())


def _state(adapters: Adapters, scope: str) -> RevocationState:
    return _snapshot(adapters).states[scope]


def _revoke(adapters: Adapters, scope: str, **members: object) -> Revocation:
    made = samples.revocation(scope, SIX[scope].id, **members)
    adapters.control.revoke(made, samples.event("revocation.made", detail={"revocation": made.id}))
    return made


def _restore(adapters: Adapters, made: Revocation, at: int = NOW) -> Revocation | None:
    return adapters.control.restore(made.id, "restorer", samples.event("revocation.lifted", at=at))


def _events(adapters: Adapters, kind: str) -> int:
    return len(adapters.ledger.page(Query({"kind": kind})).events)


class TestRevoke:
    """Revoking."""

    @pytest.mark.parametrize("scope", SCOPES)
    def test_a_revocation_blocks(self, filled: Adapters, scope: str) -> None:
        """A revocation blocks, raises the epoch by one, and writes its event."""
        made = _revoke(filled, scope)
        state = _state(filled, scope)
        assert (state.blocked(NOW), state.epoch, state.blocks) == (
            True,
            1,
            ((made.id, None),),
        )
        assert _events(filled, "revocation.made") == 1

    @pytest.mark.parametrize("scope", ["issuer", "key", "grant"])
    def test_what_nobody_knows_cannot_be_revoked(self, filled: Adapters, scope: str) -> None:
        made = samples.revocation(scope, "no-such")
        with pytest.raises(Refusal) as caught:
            filled.control.revoke(made, samples.event("revocation.made"))
        refused = caught.value
        assert (refused.reason, refused.error, refused.status) == ("no_such_thing", "not_found", 404)
        assert _events(filled, "revocation.made") == 0
        assert _restore(filled, made) is None

    def test_a_refused_revocation_leaves_nothing(self, filled: Adapters) -> None:
        """A refused revocation leaves nothing behind for a later target of that name."""
        with pytest.raises(Refusal, match="no_such_thing"):
            filled.control.revoke(samples.revocation("grant", "later"), samples.event("revocation.made"))
        put_in_force(filled.control, grant("later"))
        [(_, state)] = filled.ledger.find(samples.wanted(grant="later")).grants or ()
        assert (state.epoch, state.blocks) == (0, ())

    @pytest.mark.parametrize("scope", ["everything", "principal", "token"])
    def test_everything_principals_and_tokens_are_revoked_unseen(self, adapters: Adapters, scope: str) -> None:
        _revoke(adapters, scope)
        assert _state(adapters, scope).blocked(NOW)

    def test_a_removed_grant_can_still_be_revoked(self, filled: Adapters) -> None:
        put_in_force(filled.control)
        _revoke(filled, "grant")
        assert (_snapshot(filled).grant, _state(filled, "grant").epoch) == (None, 2)

    def test_a_revocation_ends_and_its_epoch_stays(self, filled: Adapters) -> None:
        """A revocation with an end blocks until then, and its epoch is kept."""
        _revoke(filled, "principal", until=NOW + 60)
        state = _state(filled, "principal")
        assert [state.blocked(now) for now in (NOW, NOW + 59, NOW + 60)] == [True, True, False]
        assert state.epoch == 1

    def test_a_revocation_keeps_what_is_stored(self, filled: Adapters) -> None:
        _revoke(filled, "grant")
        _revoke(filled, "everything")
        assert (_snapshot(filled).grant, _snapshot(filled).signing_keys) == (grant(), ("kid-1",))

    def test_each_revocation_raises_the_epoch(self, filled: Adapters) -> None:
        for number in (1, 2, 3):
            _revoke(filled, "principal")
            assert _state(filled, "principal").epoch == number


class TestRepeat:
    """A revocation of one id is made once."""

    def test_a_repeated_id_changes_nothing(self, filled: Adapters) -> None:
        """A revocation of the same id changes nothing, and the first is returned."""
        made = _revoke(filled, "principal")
        again = samples.revocation("grant", "ci", id=made.id, at=NOW + 9, reason="another")
        assert filled.control.revoke(again, samples.event("revocation.made")) == made
        assert (_state(filled, "principal").epoch, _state(filled, "grant").epoch) == (1, 0)
        assert _events(filled, "revocation.made") == 1

    def test_the_first_is_returned_as_it_is_made(self, filled: Adapters) -> None:
        made = samples.revocation("grant", "ci", until=NOW + 60)
        assert filled.control.revoke(made, samples.event("revocation.made")) == made

    def test_a_restored_one_is_not_made_again(self, filled: Adapters) -> None:
        made = _revoke(filled, "principal")
        _restore(filled, made, NOW + 5)
        stored = filled.control.revoke(made, samples.event("revocation.made"))
        assert (stored.lifted_at, stored.in_force(NOW + 6)) == (NOW + 5, False)
        assert _state(filled, "principal") == RevocationState(epoch=1)


class TestRevocations:
    """Reading revocations."""

    def test_revocations_come_newest_first_with_how_they_ended(self, filled: Adapters) -> None:
        first, second = _revoke(filled, "principal"), _revoke(filled, "grant", at=NOW + 1, until=NOW + 60)
        restored = _restore(filled, first, NOW + 5)
        page = filled.control.revocations("", "", 50)
        assert (page.revocations, page.next) == ((second, restored), "")

    @pytest.mark.parametrize("limit", [1, 2, 3, 5])
    def test_pages_follow_one_another_without_gap_or_repetition(self, filled: Adapters, limit: int) -> None:
        made = {_revoke(filled, "principal", at=NOW + number // 2).id for number in range(5)}
        found, after = [], ""
        for _ in range(6):
            page = filled.control.revocations("", after, limit)
            assert len(page.revocations) <= limit
            found += [one.id for one in page.revocations]
            after = page.next
            if not after:
                break
        assert (sorted(found), after) == (sorted(made), "")

    def test_each_is_found_by_its_id(self, filled: Adapters) -> None:
        made, held = _revoke(filled, "principal"), Revocation.by_holder("token-1", "sub-1", NOW)
        filled.control.revoke(held, samples.event("revocation.made"))
        assert [filled.control.revocation(one) for one in (made.id, held.id, "nobody")] == [made, held, None]

    def test_an_id_is_for_one_scope(self, filled: Adapters) -> None:
        """An id that was used for one scope makes no revocation in another."""
        made = _revoke(filled, "principal")
        again = samples.revocation("token", "token-1", id=made.id)
        assert filled.control.revoke(again, samples.event("revocation.made")) == made
        assert _state(filled, "token") == RevocationState()

    def test_those_of_holders_are_among_the_tokens(self, filled: Adapters) -> None:
        held = Revocation.by_holder("token-1", "sub-1", NOW - 1)
        filled.control.revoke(held, samples.event("revocation.made"))
        made = _revoke(filled, "token")
        assert filled.control.revocations("token", "", 50).revocations == (made, held)
        assert filled.control.revocations("", "", 50).revocations == ()

    def test_those_of_tokens_are_looked_for_by_name_only(self, filled: Adapters) -> None:
        token, grant = _revoke(filled, "token"), _revoke(filled, "grant")
        assert filled.control.revocations("", "", 50).revocations == (grant,)
        assert filled.control.revocations("token", "", 50).revocations == (token,)
        assert filled.control.revocations("grant", "", 50).revocations == (grant,)
        assert filled.control.revocations("key", "", 50).revocations == ()

    @pytest.mark.parametrize("cursor", ["x", "#", "1#", "-1#a", "\u0663#a", "9" * 20 + "#a", "1#" + "a" * 300])
    def test_a_malformed_cursor_is_a_value_error(self, filled: Adapters, cursor: str) -> None:
        with pytest.raises(ValueError, match="cursor"):
            filled.control.revocations("", cursor, 50)

    @pytest.mark.parametrize("scope", SCOPES)
    def test_a_state_can_be_read(self, filled: Adapters, scope: str) -> None:
        before, stored = filled.control.revocation_state(SIX[scope]), _snapshot(filled)
        made = _revoke(filled, scope)
        after = filled.control.revocation_state(SIX[scope])
        assert (before.epoch, after.epoch, after.blocks) == (0, 1, ((made.id, None),))
        assert _snapshot(filled)[3:] == stored[3:]  # grant, key and signing keys


class TestRestore:
    """Restoring: the block goes, the epoch stays."""

    def test_restoring_ends_the_block(self, filled: Adapters) -> None:
        """Restoring ends the block, keeps the epoch, and writes its event."""
        made = _revoke(filled, "principal")
        restored = _restore(filled, made, NOW + 5)
        assert restored is not None
        assert (restored.id, restored.target, restored.lifted_at, restored.lifted_by) == (
            made.id,
            made.target,
            NOW + 5,
            "restorer",
        )
        assert _state(filled, "principal") == RevocationState(epoch=1)
        assert _events(filled, "revocation.lifted") == 1

    @pytest.mark.parametrize("scope", SCOPES)
    def test_the_event_of_a_restore_says_what_and_why(self, filled: Adapters, scope: str) -> None:
        made = _revoke(filled, scope)
        _restore(filled, made)
        [event] = filled.ledger.page(Query({"kind": "revocation.lifted"})).events
        assert event.detail == {"revocation": made.id, "scope": scope, "target": made.target, "why": made.reason}
        assert event.principal == (made.target if scope == "principal" else "")

    def test_restoring_one_leaves_the_other(self, filled: Adapters) -> None:
        """Of two revocations of one target, restoring one leaves the other in force."""
        first, second = _revoke(filled, "grant"), _revoke(filled, "grant", until=NOW + 60)
        _restore(filled, first)
        state = _state(filled, "grant")
        assert (state.blocked(NOW), state.blocked(NOW + 60), state.epoch) == (
            True,
            False,
            2,
        )
        _restore(filled, second)
        assert not _state(filled, "grant").blocked(NOW)

    def test_restoring_twice_changes_nothing_and_writes_one_event(self, filled: Adapters) -> None:
        made = _revoke(filled, "principal")
        first = _restore(filled, made, NOW + 5)
        assert _restore(filled, made, NOW + 9) == first
        assert _events(filled, "revocation.lifted") == 1

    def test_restoring_twice_leaves_a_later_revocation_in_force(self, filled: Adapters) -> None:
        made = _revoke(filled, "principal")
        _restore(filled, made)
        _revoke(filled, "principal")
        _restore(filled, made)
        assert _state(filled, "principal").blocked(NOW)

    def test_an_unknown_revocation_is_not_restored(self, filled: Adapters) -> None:
        assert _restore(filled, samples.revocation("principal", "nobody")) is None
        assert _events(filled, "revocation.lifted") == 0


class TestApply:
    """The policy says what exists, and changes no block; which epochs it raises, test_narrowing.py says."""

    def test_applying_a_policy_keeps_blocks_and_epochs(self, filled: Adapters) -> None:
        made = {scope: _revoke(filled, scope) for scope in SCOPES}
        put_in_force(filled.control, grant(calls=(Limit(7, "day"),)))
        snapshot = _snapshot(filled)
        assert {scope: (one.epoch, one.blocks) for scope, one in snapshot.states.items()} == {
            scope: (1, ((one.id, None),)) for scope, one in made.items()
        }
        assert snapshot.grant == grant(calls=(Limit(7, "day"),))

    def test_applying_a_policy_keeps_a_key_s_version(self, filled: Adapters) -> None:
        filled.control.set_key("openai", samples.key_version("v7"), samples.event("key.set"))
        put_in_force(filled.control, grant())
        assert _snapshot(filled).key == KeyConfig("openai", "v7")

    def test_setting_a_version_keeps_the_block(self, filled: Adapters) -> None:
        """Setting a key's version keeps its block and writes its event."""
        made = _revoke(filled, "key")
        filled.control.set_key("openai", samples.key_version("v7"), samples.event("key.set"))
        assert _state(filled, "key").blocks == ((made.id, None),)
        assert _events(filled, "key.set") == 1

    def test_applying_a_policy_keeps_the_list_of_signing_keys(self, filled: Adapters) -> None:
        put_in_force(filled.control)
        assert _snapshot(filled).signing_keys == ("kid-1",)

    def test_a_removed_grant_keeps_its_epoch(self, filled: Adapters) -> None:
        """A removed grant is gone, its tokens have ended, and it keeps its epoch for when it comes back."""
        _restore(filled, _revoke(filled, "grant"))
        put_in_force(filled.control)
        assert _state(filled, "grant") == RevocationState(epoch=2)
        assert filled.ledger.find(samples.wanted()).grants == ()
        assert filled.ledger.find(samples.wanted(grant="ci")).grants == ()
        put_in_force(filled.control, grant())
        assert (_state(filled, "grant").epoch, _snapshot(filled).grant) == (2, grant())

    def test_an_issuer_and_a_key_removed_have_no_config(self, filled: Adapters) -> None:
        other = samples.issuer("https://other.example.com")
        put_in_force(filled.control, keys=("other",), issuers=(other,))
        assert (filled.ledger.find(samples.wanted()).issuer, _snapshot(filled).key) == (None, None)

    def test_a_moved_grant_leaves_its_old_key(self, filled: Adapters) -> None:
        """A grant that moved to another key is not a candidate for the old one."""
        put_in_force(filled.control, grant(key="other"), keys=("openai", "other"))
        assert filled.ledger.find(samples.wanted()).grants == ()
        found = filled.ledger.find(StateQuery((EVERYTHING,), samples.ISSUER, "other", None, NOW)).grants
        assert [one for one, _ in found or ()] == [grant(key="other")]

    def test_applying_a_policy_writes_one_event(self, filled: Adapters) -> None:
        assert _events(filled, "policy.applied") == 1

    def test_a_list_of_signing_keys_replaces_the_one_before(self, filled: Adapters) -> None:
        filled.control.list_signing_keys(("kid-2",))
        assert _snapshot(filled).signing_keys == ("kid-2",)
