from __future__ import annotations

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.tokens import jws
from chalicelib.tokens.errors import InvalidTokenError
from tests.forge import ALPHABET, b64

HEADER = {"alg": "RS256", "kid": "k"}


def text(header: object = HEADER, payload: object = "{}", signature: str = "AAAA") -> str:
    raw = [one if isinstance(one, str) else json.dumps(one) for one in (header, payload)]
    return f"{b64(raw[0].encode())}.{b64(raw[1].encode())}.{signature}"


def reason(token: str) -> str:
    with pytest.raises(InvalidTokenError) as refused:
        jws.parse(token)
    return refused.value.reason


def test_parse() -> None:
    """A token is parsed into what was sent."""
    token = text({**HEADER, "typ": "JWT"}, {"iss": "https://issuer.example", "n": 1.5, "list": [True, None]})
    claims = {"iss": "https://issuer.example", "n": 1.5, "list": [True, None]}
    assert jws.parse(token) == jws.Unverified(token, "k", "RS256", "JWT", claims)


def test_split_leaves_the_payload() -> None:
    """`split` does not read the payload."""
    assert jws.split(text(payload="foo")) == (HEADER, b"foo")
    assert reason(text(payload="foo")) == "claims_not_json"


def test_size_limit() -> None:
    """A token may be as long as the limit says and no longer."""
    start = text(signature="")
    longest = start + "A" * (jws.SIZE_LIMIT - len(start) - (jws.SIZE_LIMIT - len(start)) % 4)
    assert len(longest) > jws.SIZE_LIMIT - 4
    assert jws.parse(longest).kid == "k"
    assert reason(longest + "AAAA") == "too_large"


@pytest.mark.parametrize("token", ["", ".", "a.b", "a.b.c.d", "....", "x" * 100])
def test_three_segments(token: str) -> None:
    """A token has exactly three segments."""
    assert reason(token) == "not_three_segments"


@pytest.mark.parametrize("spelling", ["Zg==", "Zh", "Zn", "Zv", "Z+", "Z/"])
def test_other_base64_spellings(spelling: str) -> None:
    """Other base64 spellings of the same bytes are refused."""
    assert base64.b64decode(spelling.rstrip("=") + "==", altchars=b"-_", validate=False)[:1] in (b"f", b"g")
    assert reason(text(signature=spelling)) in ("base64_not_canonical", "base64_malformed")


@pytest.mark.parametrize("junk", ["=", " ", "\n", "\x00", "é", "\ud800", "?", "Zg Zg", "Z", "ZgZgZ"])
def test_malformed_base64url(junk: str) -> None:
    """Malformed base64url is refused."""
    assert reason(text(signature=junk)).startswith("base64_")


@given(st.binary(min_size=1, max_size=80))
def test_one_spelling_of_any_bytes(raw: bytes) -> None:
    """Any bytes have exactly one spelling that is read."""
    one = b64(raw)
    assert jws.split(text(signature=one))[0] == HEADER
    others = {one[:-1] + last for last in ALPHABET} - {one}
    same_bytes = [other for other in others if base64.urlsafe_b64decode(other + "=" * (-len(other) % 4)) == raw]
    assert len(same_bytes) == {0: 0, 2: 15, 3: 3}[len(one) % 4]
    assert {reason(text(signature=other)) for other in same_bytes} <= {"base64_not_canonical"}


@given(st.text(max_size=200))
def test_any_text_is_refused(anything: str) -> None:
    """Any text that is not a token is refused with a reason."""
    assert reason(anything)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_in_segments(header: bytes, payload: bytes) -> None:
    """Any bytes in the segments are parsed or refused, and nothing else happens."""
    with contextlib.suppress(InvalidTokenError):
        assert isinstance(jws.parse(f"{b64(header)}.{b64(payload)}.AAAA").unverified_claims, dict)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_claims_come_out_as_they_went_in(claims: dict[str, object]) -> None:
    """Claims come out as they went in."""
    assert jws.parse(text(payload=json.dumps(claims))).unverified_claims == claims
    assert jws.parse(text(payload=json.dumps(claims, ensure_ascii=False))).unverified_claims == claims


def test_depth_limit() -> None:
    """JSON is read down to the depth limit and no further."""

    def nested(levels: int) -> str:
        return text(payload='{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + "}")

    assert jws.parse(nested(jws.DEPTH_LIMIT)).kid == "k"
    assert reason(nested(jws.DEPTH_LIMIT + 1)) == "json_too_deep"
    assert reason(nested(6000)) == "claims_not_json"


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
def test_key_in_header(name: str) -> None:
    """A key, or a place of one, in the header is refused and never followed."""
    assert reason(text({**HEADER, name: "https://attacker.example"})) == "key_in_header"


@pytest.mark.parametrize("pairs", ['"a":1,"a":1', '"a":1,"\\u0061":2', '"b":{"a":1,"a":2}', '"b":[{"a":1,"a":2}]'])
def test_repeated_json_names(pairs: str) -> None:
    """A repeated name is refused with its own reason."""
    assert reason(text(payload="{" + pairs + "}")) == "json_key_twice"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_unwritable_numbers(number: str) -> None:
    """A number that JSON cannot write is refused with its own reason."""
    assert reason(text(payload='{"n":[' + number + "]}")) == "json_constant"


def test_text_is_unicode_or_refused() -> None:
    """Text that is not Unicode is refused."""
    assert jws.parse(text(payload='{"a":"\\ud83d\\ude00"}')).unverified_claims == {"a": "\U0001f600"}
    for half in ("\\ud83d", "\\ude00", "\\ude00\\ud83d"):
        assert reason(text(payload='{"a":"' + half + '"}')) == "json_not_text"
    raw = b64(json.dumps(HEADER).encode()) + "." + b64(b'{"a":"\xed\xa0\x80"}') + ".AAAA"
    assert reason(raw) == "claims_not_json"
