"""What ends a call that is under way, decided from what was seen."""

from __future__ import annotations

import pytest

from chalicelib.edge.errors import InvalidToken, Revoked, SigningKeyGone, Stale
from chalicelib.edge.running import RunningCall, Seen
from chalicelib.edge.token import VerifiedToken
from chalicelib.errors import Refusal
from chalicelib.revocation import SCOPES, RevocationState

NOW = 1_800_000_000
EPOCHS = {**dict.fromkeys(SCOPES, 3), "token": 0}
TOKEN = VerifiedToken(
    kid="kid-1",
    jti="jti-1",
    principal="sub-1",
    issuer="https://ci.example",
    grant="app",
    scope=("GET:/v1/models",),
    epochs=EPOCHS,
    has_total=False,
    expires=NOW - 1,
)
CALL = RunningCall(TOKEN, "openai")
NEVER = RevocationState()


def seen(scope: str = "", state: RevocationState = NEVER, kids: tuple[str, ...] = ("kid-1",)) -> Seen:
    """What is seen where nothing has changed but the state of one scope."""
    states = {target: RevocationState(EPOCHS[name]) for name, target in CALL.targets().items()}
    return Seen(states | ({CALL.targets()[scope]: state} if scope else {}), kids)


def refusal(found: Seen) -> Refusal:
    """What ends the call."""
    with pytest.raises(Refusal) as raised:
        CALL.check(found, NOW)
    return raised.value


def test_a_call_runs_on_after_its_token_has_ended() -> None:
    """What was admitted is not ended by the end of its token."""
    CALL.check(seen(), NOW)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_block_ends_it(scope: str) -> None:
    """A block of any of its six targets ends it, and says of what."""
    found = refusal(seen(scope, RevocationState(EPOCHS[scope], (("r-1", None),))))
    assert (type(found), found.reason) == (Revoked, f"revoked_{scope}")


@pytest.mark.parametrize("scope", SCOPES)
def test_an_epoch_that_moved_on_ends_it(scope: str) -> None:
    """A revocation that was lifted before anybody looked ends it as well."""
    found = refusal(seen(scope, RevocationState(EPOCHS[scope] + 1)))
    assert (type(found), found.reason) == (Stale, f"stale_{scope}")


def test_a_tainted_signing_key_ends_it() -> None:
    """A call runs on only as long as the key that signed its token is live."""
    assert type(refusal(seen(kids=("kid-2",)))) is SigningKeyGone


@pytest.mark.parametrize("scope", SCOPES)
def test_a_state_that_was_not_read_ends_it(scope: str) -> None:
    """Five states of six are no leave to run on."""
    whole = seen()
    states = {target: one for target, one in whole.states.items() if target != CALL.targets()[scope]}
    assert refusal(Seen(states, whole.signing_keys)).reason == f"revoked_{scope}"


def test_a_caller_that_goes_on_asking_needs_a_good_token() -> None:
    """A call that ends with its token does so to the second, and another does not."""
    lasting = CALL._replace(token=TOKEN._replace(expires=NOW), ends_with_token=True)
    lasting.check_time(NOW - 1)
    CALL.check_time(NOW)
    with pytest.raises(InvalidToken) as raised:
        lasting.check_time(NOW)
    assert raised.value.reason == "exp_past"
