from __future__ import annotations

import json
import math
from typing import Any

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.tokens import jws
from chalicelib.tokens import verify as tokens
from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.tokens.jwk import VerifyingKey, verifying_key
from chalicelib.tokens.signer import IssuedToken
from chalicelib.tokens.verify import LEEWAY, Expected
from tests import forge
from tests.forge import ALPHABET, Key

NOW = 1_800_000_000
LIFETIME = 3600
EXPECTED = Expected("https://issuer.example", "keybroker", LIFETIME, tokens.SUBJECT_TYPES, fractions=True)
CLAIMS = {"iss": "https://issuer.example", "aud": "keybroker", "sub": "s", "iat": NOW, "exp": NOW + 300}


def rsa_key() -> Key:
    return forge.rsa_key("rsa-1")


def ec_key() -> Key:
    return forge.ec_key("ec-1")


def verifying(key: Key) -> VerifyingKey:
    return verifying_key(key.jwk, [key.algorithm])


def verify(text: str, key: Key, expected: Expected = EXPECTED, now: int = NOW) -> tokens.Claims:
    return tokens.verify(jws.parse(text), verifying(key), expected, now)


def outcome(claims: dict[str, Any], now: int = NOW, expected: Expected = EXPECTED) -> str:
    """Return "accepted" or the reason."""
    try:
        verify(forge.token(ec_key(), claims), ec_key(), expected, now)
    except InvalidTokenError as invalid:
        return invalid.reason
    return "accepted"


def test_a_good_token_gives_its_claims() -> None:
    """A good token gives its claims."""
    for key in (rsa_key(), ec_key()):
        assert verify(forge.token(key, CLAIMS), key) == CLAIMS


def test_leeway_after_exp() -> None:
    """A token is valid until the leeway after `exp` is over."""
    ends = NOW + 300 + LEEWAY
    assert [outcome(CLAIMS, now) for now in (ends - 1, ends, ends + 1)] == ["accepted", "exp_past", "exp_past"]


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_leeway_before_iat_and_nbf(name: str) -> None:
    """A token is valid from the leeway before `iat` and `nbf` on."""
    claims = {**CLAIMS, "nbf": NOW, name: NOW + 100}
    begins = NOW + 100 - LEEWAY
    assert [outcome(claims, now) for now in (begins - 1, begins)] == [f"{name}_future", "accepted"]


def test_longest_lifetime() -> None:
    """The longest lifetime is accepted, and one second more is not."""
    lifetimes = {seconds: outcome({**CLAIMS, "exp": NOW + seconds}) for seconds in (-1, 0, 1, LIFETIME, LIFETIME + 1)}
    assert lifetimes == {
        -1: "lifetime_too_long",
        0: "lifetime_too_long",
        1: "accepted",
        LIFETIME: "accepted",
        LIFETIME + 1: "lifetime_too_long",
    }


SECONDS = st.integers(-2 * LIFETIME, 2 * LIFETIME)


@given(iat=SECONDS, nbf=st.none() | SECONDS, exp=SECONDS)
@example(iat=LEEWAY, nbf=LEEWAY, exp=LEEWAY + LIFETIME)
@example(iat=-LIFETIME - LEEWAY + 1, nbf=None, exp=-LEEWAY + 1)
def test_window(iat: int, nbf: int | None, exp: int) -> None:
    """A token is accepted exactly within its window."""
    claims = {**CLAIMS, "iat": NOW + iat, "exp": NOW + exp} | ({} if nbf is None else {"nbf": NOW + nbf})
    begun = iat <= LEEWAY and (nbf is None or nbf <= LEEWAY)
    assert (outcome(claims) == "accepted") == (begun and exp > -LEEWAY and 0 < exp - iat <= LIFETIME)


@given(
    st.sampled_from(["iat", "exp", "nbf"]),
    st.booleans()
    | st.text()
    | st.floats(max_value=-1e-9, allow_infinity=False)
    | st.floats(min_value=2.0**53, allow_infinity=False),
)
@example("exp", str(NOW + 300))
def test_times_are_numbers(name: str, value: object) -> None:
    """A time is a number of seconds within its bounds, and nothing else."""
    assert outcome({**CLAIMS, name: value}) == f"{name}_malformed"


@pytest.mark.parametrize("name", ["iat", "exp", "nbf"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_times_are_finite(name: str, value: float) -> None:
    """A time that is no finite number is refused, should one ever get past the strict reader of JSON."""
    verified = tokens.VerifiedSignature(None, {**CLAIMS, name: value}, verifying(ec_key()))
    with pytest.raises(InvalidTokenError, match=f"{name}_malformed"):
        tokens.check_claims(verified, EXPECTED, NOW)


FRACTIONS = st.integers(-2 * LIFETIME * 8, 2 * LIFETIME * 8).map(lambda eighths: eighths / 8)


@given(iat=FRACTIONS, nbf=st.none() | FRACTIONS, exp=FRACTIONS)
@example(iat=LEEWAY + 0.125, nbf=None, exp=LEEWAY + 300.0)
@example(iat=-400.0, nbf=None, exp=0.5 - LEEWAY)
@example(iat=0.875, nbf=None, exp=LIFETIME + 0.875)
def test_a_fraction_is_never_laxer(iat: float, nbf: float | None, exp: float) -> None:
    """With fractions a token begins no earlier and ends no later than it says; its life is measured in whole seconds."""
    claims = {**CLAIMS, "iat": NOW + iat, "exp": NOW + exp} | ({} if nbf is None else {"nbf": NOW + nbf})
    begun = iat <= LEEWAY and (nbf is None or nbf <= LEEWAY)
    life = math.floor(exp) - math.floor(iat)
    assert (outcome(claims) == "accepted") == (begun and math.floor(exp) > -LEEWAY and 0 < life <= LIFETIME)


def test_times_become_whole_seconds() -> None:
    """Verified claims state whole seconds, so that nobody after the verifier meets a fraction."""
    stated = {**CLAIMS, "iat": NOW + 0.173, "nbf": NOW + 0.9, "exp": NOW + 200.25}
    assert verify(forge.token(ec_key(), stated), ec_key()) == {**CLAIMS, "iat": NOW, "nbf": NOW, "exp": NOW + 200}


@given(
    st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.text())
)
@example(["keybroker", "keybroker"])
@example("keybroker\n")
def test_no_other_audience_is_ours(audience: object) -> None:
    assert outcome({**CLAIMS, "aud": audience}) == "aud_wrong"


SEVERAL = EXPECTED._replace(other_audiences=("api://keybroker", "third"))


@pytest.mark.parametrize("audience", ["keybroker", "api://keybroker", "third"])
def test_each_of_several_audiences(audience: str) -> None:
    """Each of an issuer's audiences is accepted, as text and as a list of one."""
    assert outcome({**CLAIMS, "aud": audience}, expected=SEVERAL) == "accepted"
    assert outcome({**CLAIMS, "aud": [audience]}, expected=SEVERAL) == "accepted"


@pytest.mark.parametrize(
    "audience",
    [
        ["keybroker", "api://keybroker"],
        ["api://keybroker", "third"],
        ["third", "third"],
        ["third", "evil"],
        [["third"]],
        {"third": 1},
        "keybroker third",
        "thir",
        "t",
        "",
        [],
        None,
    ],
)
def test_two_audiences_at_once(audience: object) -> None:
    """A token for two audiences is refused, though both are ours, and so is anything but one of them."""
    assert outcome({**CLAIMS, "aud": audience}, expected=SEVERAL) == "aud_wrong"


@pytest.mark.parametrize("value", [None, ""])
def test_required_claims(value: object) -> None:
    """A required claim that is missing, empty or null is missing."""
    expected = Expected("https://issuer.example", "keybroker", LIFETIME, tokens.SUBJECT_TYPES, ("jti",))
    assert outcome(CLAIMS, expected=expected) == "jti_missing"
    assert outcome({**CLAIMS, "jti": value}, expected=expected) == "jti_missing"
    assert outcome({**CLAIMS, "jti": "1"}, expected=expected) == "accepted"


def test_an_issued_type_is_no_subject_type() -> None:
    assert tokens.ISSUED_TYPE not in tokens.SUBJECT_TYPES
    assert None in tokens.SUBJECT_TYPES


def test_another_key() -> None:
    """Another key of the same algorithm and kid does not verify."""
    other = Key("ec-1", "ES256", forge.ec_key("stranger-ec").private)
    with pytest.raises(InvalidTokenError, match="signature_wrong"):
        verify(forge.token(other, CLAIMS), ec_key())


def test_key_named_by_the_token() -> None:
    """A key is never used for a token that names another one."""
    with pytest.raises(InvalidTokenError, match="kid_wrong"):
        verify(forge.token(ec_key(), CLAIMS, kid="ec-2"), ec_key())


def test_signed_bytes_without_claims() -> None:
    """Signed bytes that are not claims are not a JWT."""
    text = forge.seal(b'{"alg":"ES256","kid":"ec-1"}', b"foo", ec_key())
    unverified = jws.Unverified(text, "ec-1", "ES256", None, {})
    with pytest.raises(InvalidTokenError, match="not_a_jwt"):
        tokens.decode(unverified, verifying(ec_key()))


def test_claims_are_the_signed_ones() -> None:
    """Claims other than those that were signed are refused."""
    text = forge.token(ec_key(), CLAIMS)
    unverified = jws.Unverified(text, "ec-1", "ES256", None, {**CLAIMS, "sub": "another subject"})
    with pytest.raises(InvalidTokenError, match="claims_ambiguous"):
        tokens.decode(unverified, verifying(ec_key()))


GOOD = {key.kid: forge.token(key, CLAIMS) for key in (rsa_key(), ec_key())}
CHARACTERS = st.sampled_from(ALPHABET + ".=+/ \n\r\t\0é") | st.characters()


@given(st.sampled_from([rsa_key(), ec_key()]), st.data())
def test_one_character_changed(key: Key, data: st.DataObject) -> None:
    """No text that differs in one character is accepted."""
    good = GOOD[key.kid]
    at = data.draw(st.integers(0, len(good)), "at")
    character = data.draw(CHARACTERS, "character")
    changed = data.draw(
        st.sampled_from(
            [good[:at] + character + good[at + 1 :], good[:at] + character + good[at:], good[:at] + good[at + 1 :]]
        )
    )
    if changed == good:
        assert verify(changed, key) == CLAIMS
    else:
        with pytest.raises(InvalidTokenError):
            verify(changed, key)


@pytest.mark.parametrize("kid", ["rsa-1", "ec-1"])
def test_last_character_changed(kid: str) -> None:
    """Every other last character is refused."""
    key = {"rsa-1": rsa_key(), "ec-1": ec_key()}[kid]
    for last in ALPHABET.replace(GOOD[kid][-1], ""):
        with pytest.raises(InvalidTokenError):
            verify(GOOD[kid][:-1] + last, key)


def test_es256_is_malleable() -> None:
    """The other ES256 signature (r, n - s) verifies, so no state may be keyed by a token's text."""
    other = forge.twin(GOOD["ec-1"])
    assert other != GOOD["ec-1"]
    assert verify(other, ec_key()) == CLAIMS


def test_repr_hides_the_token() -> None:
    """The repr of an issued token does not show it."""
    assert "eyJ" not in repr(IssuedToken("eyJ.eyJ.sig", 900, "GET:/v1/models", "https://edge.example/openai/v1"))


class TestPyJWTBackstop:
    """What we assume of PyJWT: the faults that it lets through alone. One that fails here is no longer ours to catch."""

    def decode(self, text: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401  as jwt.decode has it
        claims: dict[str, Any] = jwt.decode(text, ec_key().private.public_key(), ["ES256"], **more)
        return claims

    def sealed(self, header: str, payload: str) -> str:
        return forge.seal(header.encode(), payload.encode(), ec_key())

    @pytest.mark.parametrize("exp", ["99999999999", 99999999999.5, True])
    def test_it_takes_times_that_are_no_integers(self, exp: object) -> None:
        text = forge.token(ec_key(), {"exp": exp})
        assert self.decode(text, leeway=10**11) == {"exp": exp}

    def test_it_takes_a_token_without_exp(self) -> None:
        assert self.decode(forge.token(ec_key(), {"sub": "s"})) == {"sub": "s"}

    def test_it_takes_any_lifetime(self) -> None:
        assert self.decode(forge.token(ec_key(), {"iat": 0, "exp": 99999999999}))["iat"] == 0

    def test_it_takes_a_list_of_audiences_with_ours_among_them(self) -> None:
        text = forge.token(ec_key(), {"aud": ["other", "keybroker"]})
        assert self.decode(text, audience="keybroker")["aud"] == ["other", "keybroker"]

    def test_it_takes_the_last_of_two_claims_of_one_name(self) -> None:
        assert self.decode(self.sealed('{"alg":"ES256"}', '{"sub":"a","sub":"b"}')) == {"sub": "b"}

    def test_it_takes_the_last_of_two_header_members_of_one_name(self) -> None:
        assert self.decode(self.sealed('{"alg":"none","alg":"ES256"}', "{}")) == {}

    def test_it_takes_any_typ_and_any_header_member(self) -> None:
        assert self.decode(forge.token(ec_key(), {}, typ="at+jwt", jku="https://attacker.example", foo=1)) == {}

    def test_it_takes_nan(self) -> None:
        assert str(self.decode(self.sealed('{"alg":"ES256"}', '{"n":NaN}'))) == "{'n': nan}"

    def test_it_takes_padding_and_refuses_other_spellings(self) -> None:
        options = {"verify_aud": False, "verify_exp": False, "verify_iat": False}
        head, _, signature = GOOD["ec-1"].rpartition(".")
        assert self.decode(f"{head}.{signature}==", options=options) == CLAIMS
        with pytest.raises(jwt.DecodeError):
            self.decode(f"{head}.{forge.respell(signature)}", options=options)

    def test_it_refuses_an_algorithm_that_is_not_allowed(self) -> None:
        for header in ({"alg": "none"}, {"alg": "HS256"}, {"alg": "ES384"}):
            text = self.sealed(json.dumps({**header, "kid": "ec-1"}), json.dumps(CLAIMS))
            with pytest.raises(jwt.InvalidAlgorithmError):
                self.decode(text)

    def test_it_refuses_crit(self) -> None:
        with pytest.raises(jwt.InvalidTokenError):
            self.decode(forge.token(ec_key(), {}, crit=["foo"], foo=1))

    @pytest.mark.parametrize("change", [{"use": "enc"}, {"key_ops": ["encrypt"]}])
    def test_it_verifies_with_a_key_that_is_not_for_signatures(self, change: dict[str, object]) -> None:
        key = jwt.PyJWK({**ec_key().jwk, **change})
        assert jwt.decode(forge.token(ec_key(), {"sub": "s"}), key, ["ES256"]) == {"sub": "s"}
