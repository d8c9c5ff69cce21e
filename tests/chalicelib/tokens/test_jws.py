from __future__ import annotations

import base64
import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.tokens import jws
from chalicelib.tokens.errors import InvalidTokenError
from tests.forge import ALPHABET, b64

HEADER = {"alg": "RS256", "kid": "k"}
REPRODUCIBLE = settings(derandomize=True, deadline=None)


def text(header: object = HEADER, payload: object = "{}", signature: str = "AAAA") -> str:
    raw = [one if isinstance(one, str) else json.dumps(one) for one in (header, payload)]
    return f"{b64(raw[0].encode())}.{b64(raw[1].encode())}.{signature}"


def reason(token: str) -> str:
    with pytest.raises(InvalidTokenError) as refused:
        jws.parse(token)
    return refused.value.reason


def test_a_token_is_taken_apart_into_what_was_sent() -> None:
    token = text({**HEADER, "typ": "JWT"}, {"iss": "https://issuer.example", "n": 1.5, "list": [True, None]})
    claims = {"iss": "https://issuer.example", "n": 1.5, "list": [True, None]}
    assert jws.parse(token) == jws.Unverified(token, "k", "RS256", "JWT", claims)


def test_the_payload_of_split_need_not_be_json() -> None:
    assert jws.split(text(payload="foo")) == (HEADER, b"foo")
    assert reason(text(payload="foo")) == "claims_not_json"


def test_a_token_of_exactly_the_size_limit_is_read_and_one_more_character_is_not() -> None:
    start = text(signature="")
    longest = start + "A" * (jws.SIZE_LIMIT - len(start) - (jws.SIZE_LIMIT - len(start)) % 4)
    assert len(longest) > jws.SIZE_LIMIT - 4
    assert jws.parse(longest).kid == "k"
    assert reason(longest + "AAAA") == "too_large"


@pytest.mark.parametrize("token", ["", ".", "a.b", "a.b.c.d", "....", "x" * 100])
def test_anything_but_three_segments_is_refused(token: str) -> None:
    assert reason(token) == "not_three_segments"


@pytest.mark.parametrize("spelling", ["Zg==", "Zh", "Zn", "Zv", "Z+", "Z/"])
def test_the_other_spellings_of_a_byte_are_refused(spelling: str) -> None:
    assert base64.b64decode(spelling.rstrip("=") + "==", altchars=b"-_", validate=False)[:1] in (b"f", b"g")
    assert reason(text(signature=spelling)) in ("base64_not_canonical", "base64_malformed")


@pytest.mark.parametrize("junk", ["=", " ", "\n", "\x00", "é", "\ud800", "?", "Zg Zg", "Z", "ZgZgZ"])
def test_what_is_no_base64url_is_refused(junk: str) -> None:
    assert reason(text(signature=junk)).startswith("base64_")


@REPRODUCIBLE
@given(st.binary(min_size=1, max_size=80))
def test_every_byte_string_has_exactly_the_one_spelling_that_is_read(raw: bytes) -> None:
    one = b64(raw)
    assert jws.split(text(signature=one))[0] == HEADER
    others = {one[:-1] + last for last in ALPHABET} - {one}
    same_bytes = [other for other in others if base64.urlsafe_b64decode(other + "=" * (-len(other) % 4)) == raw]
    assert len(same_bytes) == {0: 0, 2: 15, 3: 3}[len(one) % 4]
    assert {reason(text(signature=other)) for other in same_bytes} <= {"base64_not_canonical"}


@REPRODUCIBLE
@given(st.text(max_size=200))
def test_any_text_that_is_no_token_is_refused_with_a_reason(anything: str) -> None:
    assert reason(anything)


@REPRODUCIBLE
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_in_the_segments_are_parsed_or_refused_and_nothing_else(header: bytes, payload: bytes) -> None:
    with contextlib.suppress(InvalidTokenError):
        assert isinstance(jws.parse(f"{b64(header)}.{b64(payload)}.AAAA").unverified_claims, dict)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@REPRODUCIBLE
@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_claims_come_out_as_they_went_in(claims: dict[str, object]) -> None:
    assert jws.parse(text(payload=json.dumps(claims))).unverified_claims == claims
    assert jws.parse(text(payload=json.dumps(claims, ensure_ascii=False))).unverified_claims == claims


def test_json_is_read_down_to_the_depth_limit_and_no_further() -> None:
    def nested(levels: int) -> str:
        return text(payload='{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + "}")

    assert jws.parse(nested(jws.DEPTH_LIMIT)).kid == "k"
    assert reason(nested(jws.DEPTH_LIMIT + 1)) == "json_too_deep"
    assert reason(nested(6000)) == "claims_not_json"


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
def test_a_key_in_the_header_is_refused_and_never_followed(name: str) -> None:
    assert reason(text({**HEADER, name: "https://attacker.example"})) == "key_in_header"


@pytest.mark.parametrize("pairs", ['"a":1,"a":1', '"a":1,"\\u0061":2', '"b":{"a":1,"a":2}', '"b":[{"a":1,"a":2}]'])
def test_a_json_key_that_occurs_twice_is_refused_at_any_depth(pairs: str) -> None:
    assert reason(text(payload="{" + pairs + "}")) == "json_key_twice"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_a_number_that_json_cannot_write_is_refused(number: str) -> None:
    assert reason(text(payload='{"n":[' + number + "]}")) == "json_constant"


def test_text_is_unicode_or_refused() -> None:
    assert jws.parse(text(payload='{"a":"\\ud83d\\ude00"}')).unverified_claims == {"a": "\U0001f600"}
    for half in ("\\ud83d", "\\ude00", "\\ude00\\ud83d"):
        assert reason(text(payload='{"a":"' + half + '"}')) == "json_not_text"
    raw = b64(json.dumps(HEADER).encode()) + "." + b64(b'{"a":"\xed\xa0\x80"}') + ".AAAA"
    assert reason(raw) == "claims_not_json"
