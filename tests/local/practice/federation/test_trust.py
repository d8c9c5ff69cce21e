from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from local.practice.federation.trust import ELLIPTIC, RSA, DeniedError, Rules, TrustedIssuer, key_set
from tests import forge
from tests.own_issuer import SUBJECT, Clock, OwnIssuer

AUDIENCE = "https://provider.example.com"
RULES = Rules(ELLIPTIC + RSA, (AUDIENCE,), SUBJECT, skew=30)


@pytest.fixture
def ours(clock: Clock) -> OwnIssuer:
    return OwnIssuer(clock, AUDIENCE)


def reason(issuer: TrustedIssuer, assertion: str, rules: Rules = RULES) -> str:
    with pytest.raises(DeniedError) as denied:
        issuer.verify(assertion, rules)
    return denied.value.reason


def test_a_good_assertion_is_accepted(ours: OwnIssuer) -> None:
    assert ours.trusted().verify(ours.assertion(), RULES)["sub"] == SUBJECT


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"iss": "https://broker.example.com"}, "match_issuer"),
        ({"iss": "https://broker.example.com/federation/"}, "match_issuer"),
        ({"sub": f"{SUBJECT}/"}, "match_subject"),
        ({"sub": None}, "match_subject"),
        ({"aud": "https://other.example.com"}, "match_audience"),
        ({"aud": [AUDIENCE, "https://other.example.com"]}, "match_audience"),
        ({"aud": None}, "match_audience"),
        ({"iat": None}, "iat_missing"),
        ({"exp": None}, "exp_missing"),
        ({"exp": "soon"}, "exp_missing"),
        ({"exp": 1_800_000_000 + 3601}, "lifetime_too_long"),
    ],
)
def test_a_claim_that_differs_is_denied(ours: OwnIssuer, claims: Mapping[str, Any], expected: str) -> None:
    """Issuer, subject and audience are compared exactly, and the times are required."""
    assert reason(ours.trusted(), ours.assertion(**claims)) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"kid": None}, "kid_missing"),
        ({"kid": "another"}, "kid_unknown"),
        ({"typ": "at+jwt"}, "type_not_allowed"),
        ({"alg": "none"}, "algorithm_not_allowed"),
        ({"alg": "HS256"}, "algorithm_not_allowed"),
        ({"alg": "ES384"}, "algorithm_not_allowed"),
        ({"alg": "RS256"}, "algorithm_not_allowed"),
    ],
)
def test_a_header_that_differs_is_denied(ours: OwnIssuer, header: Mapping[str, object], expected: str) -> None:
    """The header names a known key, that key's algorithm, and no other type than a JWT."""
    assert reason(ours.trusted(), ours.assertion(header=header)) == expected


def test_a_public_key_is_no_shared_secret(ours: OwnIssuer) -> None:
    """What is signed with HMAC under the public key is denied."""
    header, claims = (forge.decode(one) for one in ours.assertion(header={"alg": "HS256"}).split(".")[:2])
    assert reason(ours.trusted(), forge.seal(header, claims, ours.key, "HS256/pem")) == "algorithm_not_allowed"


def test_another_s_signature_is_denied(ours: OwnIssuer) -> None:
    forged = ours.assertion(forge.ec_key("theirs"), header={"kid": "ours"})
    assert reason(ours.trusted(), forged) == "signature_invalid"


def test_a_token_for_callers_is_denied(ours: OwnIssuer) -> None:
    """A token that the broker gave to a caller opens nothing, even if the provider knew its key."""
    assert reason(ours.trusted(), ours.token_for_a_caller()) == "type_not_allowed"
    known = TrustedIssuer(ours.url, {"keys": [ours.key.jwk, forge.ec_key("callers").jwk]}, clock=ours.clock)
    plain = ours.assertion(forge.ec_key("callers"), iss="https://broker.example.com", aud="openai")
    assert reason(known, plain) == "match_issuer"
    assert reason(known, ours.assertion(forge.ec_key("callers"), aud="openai")) == "match_audience"


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c", "a.b.c.d", "..", "é.é.é"])
def test_what_is_no_jwt_is_denied(ours: OwnIssuer, text: str) -> None:
    assert reason(ours.trusted(), text) == "malformed"


def test_the_clocks_may_differ_by_the_skew(clock: Clock, ours: OwnIssuer) -> None:
    """An assertion is accepted until the skew after its end and from the skew before its start, and no longer."""
    trusted, assertion, start = ours.trusted(), ours.assertion(exp=int(clock()) + 60, nbf=None), clock()
    clock.now = start + 89
    assert trusted.verify(assertion, RULES)
    clock.now = start + 90
    assert reason(trusted, assertion) == "expired"
    clock.now = start - 30
    assert trusted.verify(assertion, RULES)
    clock.now = start - 31
    assert reason(trusted, assertion) == "not_yet_valid"


def test_fetched_keys_are_kept(clock: Clock, ours: OwnIssuer) -> None:
    """Keys are fetched once in the time for which they are kept."""
    issuer = TrustedIssuer(ours.url, ours.jwks, cached=600, clock=clock)
    issuer.verify(ours.assertion(), RULES)
    clock.now += 599
    issuer.verify(ours.assertion(), RULES)
    assert issuer.reads == 1
    clock.now += 1
    issuer.verify(ours.assertion(), RULES)
    assert issuer.reads == 2


def test_an_unknown_kid_is_looked_for_at_once_where_the_provider_does(clock: Clock, ours: OwnIssuer) -> None:
    """After a rotation the new key is found at once by a provider that reads again, and later by one that does not."""
    rereading = TrustedIssuer(ours.url, ours.jwks, clock=clock)
    waiting = TrustedIssuer(ours.url, ours.jwks, rereads=False, clock=clock)
    for one in (rereading, waiting):
        one.verify(ours.assertion(), RULES)
    ours.key = forge.ec_key("ours-2")
    assert rereading.verify(ours.assertion(), RULES)
    assert reason(waiting, ours.assertion()) == "kid_unknown"
    clock.now += 600
    assert waiting.verify(ours.assertion(), RULES)


def test_keys_that_cannot_be_fetched(clock: Clock, ours: OwnIssuer) -> None:
    """Without any key everything is denied; with those of before, they are used on."""
    is_away = True

    def fetch() -> dict[str, object]:
        if is_away:
            raise OSError
        return ours.jwks()

    issuer = TrustedIssuer(ours.url, fetch, clock=clock)
    assert reason(issuer, ours.assertion()) == "jwks_unavailable"
    is_away = False
    assert issuer.verify(ours.assertion(), RULES)
    is_away = True
    clock.now += 600
    assert issuer.verify(ours.assertion(), RULES)


def test_only_public_keys_with_a_kid_each_are_stored(ours: OwnIssuer) -> None:
    """A JWKS with a private part, a shared secret, two keys of one kid or none is not stored."""
    good = ours.key.jwk
    for keys in (
        [{**good, "d": "AA"}],
        [{"kty": "oct", "k": "AA", "kid": "a"}],
        [good, good],
        [{name: value for name, value in good.items() if name != "kid"}],
        [],
    ):
        with pytest.raises(ValueError, match=r"JWKS|kid"):
            key_set({"keys": keys})
