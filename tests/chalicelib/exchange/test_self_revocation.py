from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import pytest

from chalicelib.errors import Refusal, StateUnavailable, Unavailable
from chalicelib.exchange import self_revocation as holder
from chalicelib.revocation import Revocation
from chalicelib.tokens.errors import SigningKeysUnavailable
from chalicelib.tokens.jwk import VerifyingKey
from local.sqlite.revocations import SqliteRevocations
from tests.parts import BROKER, NOW, SUB, Parts, claims_of, mint


def revoke_own_token(parts: Parts, token: str, now: int = NOW) -> None:
    holder.revoke_own_token(token, parts.broker(), parts.control, now, "req-revoke")


def refusal(parts: Parts, token: str) -> str:
    with pytest.raises(Refusal) as caught:
        parts.admit(token)
    return caught.value.reason


def test_a_token_is_revoked_for_good_with_one_event(parts: Parts) -> None:
    token = parts.token()
    for later in (0, 1, 2):
        revoke_own_token(parts, token, NOW + later)
    assert refusal(parts, token) == "revoked_token"
    [event] = parts.events(kind="revocation.made")
    claims = claims_of(token)
    assert (event.id, event.at, event.request_id) == (f"holder-{claims['jti']}", NOW, "req-revoke")
    assert (event.principal, event.actor, event.key, event.grant, event.jti) == (
        SUB,
        SUB,
        "openai",
        "app",
        claims["jti"],
    )


def test_another_token_of_the_same_principal_is_untouched(parts: Parts) -> None:
    token, other = parts.token(), parts.token()
    revoke_own_token(parts, token)
    assert parts.admit(other).jti == claims_of(other)["jti"]


def test_a_token_that_has_expired_leaves_no_record(parts: Parts) -> None:
    token = parts.token()
    revoke_own_token(parts, token, int(claims_of(token)["exp"]))
    assert parts.events(kind="revocation.made") == ()


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "\ud800", "a" * 20_000])
def test_garbage_leaves_no_record(parts: Parts, token: str) -> None:
    revoke_own_token(parts, token)
    assert parts.events(kind="revocation.made") == ()


def test_an_identity_token_is_not_ours_to_revoke(parts: Parts) -> None:
    revoke_own_token(parts, mint())
    assert parts.events(kind="revocation.made") == ()


@pytest.mark.parametrize(
    "change",
    [{"iss": "https://other.example"}, {"aud": ["openai", "x"]}, {"aud": 1}, {"jti": 1}, {"ep": [0]}],
    ids=str,
)
def test_a_token_that_is_not_quite_ours_leaves_no_record(parts: Parts, change: dict[str, object]) -> None:
    revoke_own_token(parts, parts.sign({**claims_of(parts.token()), **change}))
    assert parts.events(kind="revocation.made") == ()


def test_a_token_for_a_key_that_is_gone_can_still_be_taken_back(parts: Parts) -> None:
    claims = {**claims_of(parts.token()), "aud": "gone", "iss": BROKER}
    revoke_own_token(parts, parts.sign(claims))
    assert [event.key for event in parts.events(kind="revocation.made")] == ["gone"]


class _NoKeys:
    def find(self, kid: str, now: int) -> VerifyingKey:  # noqa: ARG002  the port's signature
        raise SigningKeysUnavailable


def test_an_unreadable_key_is_unavailable(parts: Parts) -> None:
    """When the signing key cannot be read, the holder is told to try again."""
    broker = replace(parts.broker(), signing_keys=_NoKeys())
    with pytest.raises(Unavailable) as caught:
        holder.revoke_own_token(parts.token(), broker, parts.control, NOW, "req-revoke")
    assert (caught.value.reason, caught.value.status) == ("signing_keys_unavailable", 503)


class _OutOfReach(SqliteRevocations):
    def revoke(self, revocation: Revocation, event: object) -> NoReturn:  # noqa: ARG002  the port's signature
        raise StateUnavailable


def test_a_revocation_that_is_not_in_force_is_not_acknowledged(parts: Parts) -> None:
    with pytest.raises(Unavailable) as caught:
        holder.revoke_own_token(parts.token(), parts.broker(), _OutOfReach(parts.state), NOW, "req-revoke")
    assert caught.value.reason == "state_unavailable"
