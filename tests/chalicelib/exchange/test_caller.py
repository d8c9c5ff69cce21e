"""What a caller learns whose token is refused: nothing, until it is proved who sends it; then the claim or the limit."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.tokens.errors import CLAIM_REASONS
from tests.parts import CI, CLUSTER, NOW, SUB, Parts, mint
from tests.refused import is_of_claims, refused

NOBODY = ""
"""The principal of a token that does not say who it is."""
WHO = "its claim 'repository_id', which says who the caller is,"
POD = f"{CLUSTER}|sub:repo:octo-org/app:ref:refs/heads/main"

TOLD = [
    ("exp_past", {"iat": NOW - 400, "exp": NOW - 30}, SUB, "it expired 30 s ago (`exp`); get a fresh one"),
    ("exp_past", {"exp": 0}, SUB, "it expired 20833 d ago (`exp`); get a fresh one"),
    ("iat_future", {"iat": NOW + 31, "exp": NOW + 60}, SUB, "its 'iat' is 31 s ahead of the broker's clock"),
    ("nbf_future", {"nbf": NOW + 7200}, SUB, "its 'nbf' is 2 h ahead of the broker's clock"),
    (
        "lifetime_too_long",
        {"exp": NOW + 901},
        SUB,
        "it lives 15 min (901 s, `exp` - `iat`); its issuer's tokens may live 15 min (900 s)",
    ),
    ("lifetime_too_long", {"iat": NOW + 10, "exp": NOW + 10}, SUB, "its 'exp' is not after its 'iat'"),
    ("iat_missing", {"iat": None}, SUB, "its claim 'iat' is missing"),
    ("exp_malformed", {"exp": "soon"}, SUB, "its claim 'exp' is not a number of seconds since 1970"),
    ("nbf_malformed", {"nbf": True}, SUB, "its claim 'nbf' is not a number of seconds since 1970"),
    ("event_name_missing", {"event_name": ""}, SUB, "its claim 'event_name' is missing or empty"),
    ("repository_id_missing", {"repository_id": None}, NOBODY, "its claim 'repository_id' is missing or empty"),
    ("identity_missing", {"repository_id": 1234}, NOBODY, f"{WHO} is not text"),
    (
        "identity_missing",
        {"repository_id": "x" * 600},
        NOBODY,
        "what says who the caller is (repository_id) is over 512 bytes",
    ),
    ("jti_missing", {"jti": None}, SUB, "its claim 'jti' is missing or empty"),
    ("jti_malformed", {"jti": ["a"]}, SUB, "its claim 'jti' is empty, or not text"),
    ("jti_malformed", {"iss": CLUSTER, "jti": ""}, POD, "its claim 'jti' is empty, or not text"),
    (
        "identity_missing",
        {"iss": CLUSTER, "sub": ""},
        NOBODY,
        "its claim 'sub', which says who the caller is, is missing or empty",
    ),
]


@pytest.mark.parametrize(("reason", "claims", "principal", "text"), TOLD)
def test_the_proved_are_told(parts: Parts, reason: str, claims: dict[str, object], principal: str, text: str) -> None:
    """Once signature, issuer and audience hold, the text names the claim or the limit, and the audit has who it was."""
    refusal = refused(lambda: parts.exchange(mint(**claims)))  # type: ignore[arg-type]  # any claims, `iss` among them
    assert (refusal.reason, refusal.error, refusal.status) == (reason, "invalid_grant", 400)
    assert refusal.description == f"the identity token is refused: {text}"
    issuer = claims.get("iss", CI)
    assert refusal.log_fields() == {"issuer": issuer, **({"principal": principal} if principal else {})}
    (event,) = parts.events(kind="token.refused")
    assert (event.reason, event.issuer, event.principal, event.key) == (reason, issuer, principal, "openai")
    assert (event.request_id, event.grant, event.jti) == ("req-1", "", "")
    assert event.claims["aud"] == "keybroker"


def test_each_reason_is_tried() -> None:
    """Every reason of claims is in the table above."""
    left = {one for one in CLAIM_REASONS if not any(one.removeprefix("<claim>") in reason for reason, *_ in TOLD)}
    assert not left
    assert all(is_of_claims(reason) for reason, *_ in TOLD)


@pytest.mark.parametrize(("reason", "claims", "principal", "text"), TOLD)
def test_reason_by_reason(parts: Parts, reason: str, claims: dict[str, Any], principal: str, text: str) -> None:
    """Without the issuer's signature, for another audience or use, the same claims get a bare answer and leave no event."""
    before = len(parts.events())
    head, payload, _ = mint(**claims).split(".")
    forged = f"{head}.{payload}.{'A' * 86}"
    elsewhere, access_token = mint(**{**claims, "aud": "another"}), mint(typ="at+jwt", **claims)
    for token, why in ((forged, "signature_wrong"), (elsewhere, "aud_wrong"), (access_token, "typ_wrong")):
        refusal = refused(lambda token=token: parts.exchange(token))  # type: ignore[misc]  # bound now
        assert (refusal.reason, refusal.description, refusal.log_fields()) == (why, "", {}), (reason, principal, text)
    assert len(parts.events()) == before


@pytest.mark.parametrize("value", ["sk-real-0123456789abcdef", "\r\nx-evil: 1", "\x1b[2J", "\u202e", "x" * 5000])
@pytest.mark.parametrize("name", ["iat", "exp", "nbf", "jti", "repository_id"])
def test_a_claim_s_value_is_not_echoed(parts: Parts, name: str, value: str) -> None:
    """Whatever a claim holds, the text that refuses it is short and plain, and does not repeat it."""
    claims: dict[str, Any] = {name: [value]}
    refusal = refused(lambda: parts.exchange(mint(**claims)))
    assert value not in refusal.description
    assert refusal.description.isascii()
    assert refusal.description.isprintable()
    assert len(refusal.description) < 200


# what the audit holds


def test_each_token_is_an_event(parts: Parts) -> None:
    """A good token that is refused for its claims is an event; sent again, whatever it asks for, it is counted there."""
    one, other = mint(jti=1), mint(jti=2)
    for token, audience in ((one, "openai"), (one, "anthropic"), (other, "openai"), (one, "a" * 100)):
        refused(lambda token=token, audience=audience: parts.exchange(token, audience=audience))  # type: ignore[misc]  # bound now
    found = parts.events(kind="token.refused", principal=SUB)
    assert sorted((event.reason, event.repeated) for event in found) == [("jti_malformed", 0), ("jti_malformed", 2)]


def test_a_pile_of_expired_tokens_is_one_event(parts: Parts) -> None:
    """Expired tokens, of which a stranger may have thousands from old logs, are one event for each principal."""
    for number in range(20):
        old = mint(NOW - 4000 * (number + 1), repository_id="1234" if number else "5")
        assert refused(lambda old=old: parts.exchange(old)).reason == "exp_past"  # type: ignore[misc]  # bound now
    found = parts.events(kind="token.refused")
    assert [(event.principal, event.repeated) for event in found] == [(SUB, 18), (f"{CI}|repository_id:5", 0)]


def test_the_unnamed_are_counted_as_nobody(parts: Parts) -> None:
    """A caller whose id is missing has an event with its issuer and name, and no principal's counters."""
    refused(lambda: parts.exchange(mint(repository_id=None)))
    refused(lambda: parts.exchange(mint(repository_id=None)))
    found = parts.events(kind="token.refused")
    assert [(one.issuer, one.principal, one.principal_name) for one in found] == [(CI, "", "octo-org/app")] * 2
    assert parts.counted("tokens") == {}
    refused(lambda: parts.exchange(mint(jti=1)))
    assert {refusals for _, refusals in parts.counted("tokens").values()} <= {1}


def test_a_refused_token_is_not_used_up(parts: Parts) -> None:
    """A token that was early is good once its time has come."""
    early = mint(NOW + 100)
    assert refused(lambda: parts.exchange(early)).reason == "iat_future"
    parts.exchange(early, NOW + 100)
