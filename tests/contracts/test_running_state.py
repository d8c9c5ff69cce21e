"""The rules of `chalicelib.edge.running.RunningState`, whatever it is kept in."""

from __future__ import annotations

import pytest

from chalicelib.revocation import EVERYTHING, RevocationState, RevocationTarget
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW, SIX, calls, grant, put_in_force


def test_what_was_never_written_was_never_revoked(adapters: Adapters) -> None:
    """Every target that is asked for has a state, though nothing was ever written of it."""
    seen = adapters.running_state.see(SIX.values())
    assert (seen.states, seen.signing_keys) == (dict.fromkeys(SIX.values(), RevocationState()), ())


@pytest.mark.parametrize("scope", SIX)
def test_a_revocation_is_seen_as_soon_as_it_is_acknowledged(adapters: Adapters, scope: str) -> None:
    """The state of what was revoked is blocked and has a new epoch, and no other state is."""
    put_in_force(adapters.control, grant())
    adapters.control.revoke(samples.revocation(scope, SIX[scope].id), samples.event("revocation.made"))
    states = adapters.running_state.see(SIX.values()).states
    assert {target for target, one in states.items() if one.blocked(NOW)} == {SIX[scope]}
    assert {target: one.epoch for target, one in states.items() if one.epoch} == {SIX[scope]: 1}


def test_the_live_signing_keys_are_seen(adapters: Adapters) -> None:
    """The signing keys come with `EVERYTHING`, as they are now."""
    adapters.control.list_signing_keys(("kid-1", "kid-2"))
    assert adapters.running_state.see([EVERYTHING]).signing_keys == ("kid-1", "kid-2")


def test_thousands_of_calls_are_seen_at_once(adapters: Adapters) -> None:
    """There may be more targets than fit in one request to the store, and the last of them is read."""
    tokens = [RevocationTarget("token", f"token-{number}") for number in range(1_000)]
    put_in_force(adapters.control, grant())
    adapters.control.revoke(samples.revocation("token", tokens[-1].id), samples.event("revocation.made"))
    states = adapters.running_state.see([EVERYTHING, *tokens]).states
    assert len(states) == len(tokens) + 1
    assert [target for target, one in states.items() if one.blocked(NOW)] == tokens[-1:]


def test_nothing_is_counted(adapters: Adapters) -> None:
    """To look at a call takes nothing of its quota."""
    adapters.running_state.see(SIX.values())
    assert {adapters.counted(one) for one in calls()} == {(0, 0)}


def test_grants_are_seen_as_they_are_now(adapters: Adapters) -> None:
    """With the state of a grant comes what it says; a grant that is not there is left out."""
    put_in_force(adapters.control, grant())
    other = RevocationTarget("grant", "never-there")
    assert adapters.running_state.see([EVERYTHING, SIX["grant"], other]).grants == {"ci": grant()}
