"""The way of a token and of a policy into the broker: whatever arrives, the answer is a "no" in the right words or a value."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm

from chalicelib.errors import Refusal
from chalicelib.exchange import request as token_request
from chalicelib.exchange.request import JWT_BEARER, TOKEN_EXCHANGE, Fields, TokenRequest
from chalicelib.policy import compile as policy
from chalicelib.policy.compile import Fault, InvalidPolicyError
from chalicelib.tokens import issued as issued_tokens
from chalicelib.tokens import jws
from chalicelib.tokens import verify as tokens
from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.tokens.jwk import VerifyingKey, verifying_key
from tests.fuzz.json_values import TEXT, VALUES, changed
from tests.fuzz.target import Target
from tests.parts import BROKER, CI, DIALECT, GRANTS, ISSUERS, NOW, SUB

SIGNER = ec.generate_private_key(ec.SECP256R1())
_JWK = {**ECAlgorithm.to_jwk(SIGNER.public_key(), as_dict=True), "kid": "k-1", "alg": "ES256", "use": "sig"}
ISSUED: dict[str, Any] = {
    "iss": BROKER,
    "sub": SUB,
    "aud": "openai",
    "client_id": SUB,
    "scope": "POST:/v1/chat/completions",
    "grant": "app",
    "idp": CI,
    "ep": [0, 0, 0, 0, 0],
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 900,
    "jti": "id-1",
}
SUBJECT: dict[str, Any] = {
    "iss": CI,
    "aud": "keybroker",
    "sub": "repo:o/r:ref:refs/heads/main",
    "iat": NOW,
    "exp": NOW + 300,
    "jti": "s-1",
    "repository_id": "1234",
}
_HEADERS = {"issued": {"alg": "ES256", "kid": "k-1", "typ": "at+jwt"}, "subject": {"alg": "ES256", "kid": "k-1"}}
_ODD_JSON = [
    '{"iss": 1, "iss": 2}',
    "[]",
    "null",
    "NaN",
    '{"a": 1e999}',
    "{",
    '{"exp": Infinity}',
    "[" * 2000,
    '"\\ud800"',
]


class _OneKey:
    """`issued_tokens.SigningKeys` with one key."""

    def __init__(self, key: VerifyingKey) -> None:
        self._key = key

    def find(self, kid: str, now: int) -> VerifyingKey:  # noqa: ARG002  the port's
        """See `SigningKeys.find`."""
        if kid != self._key.kid:
            raise InvalidTokenError("kid_unknown")
        return self._key


_KEY = verifying_key(_JWK, ["ES256"])
_KEYS = _OneKey(_KEY)
_EXPECTED = tokens.Expected(CI, "keybroker", 3600, tokens.SUBJECT_TYPES)


def targets() -> list[Target]:
    """Return what is fuzzed here."""
    return [
        Target("issued-token", _tokens("issued", ISSUED), check_issued),
        Target("subject-token", _tokens("subject", SUBJECT), check_subject),
        Target("token-request", _sent(), check_request),
        Target("policy", _policies(), check_policy),
    ]


def check_issued(text: str) -> None:
    """A token of ours is refused as InvalidTokenError, or its claims have the types and the limits that they must have."""
    try:
        claims, kid = issued_tokens.verify(text, BROKER, "openai", _KEYS, NOW)
    except InvalidTokenError:
        return
    assert (kid, claims["iss"]) == ("k-1", BROKER)
    assert claims["aud"] in ("openai", ["openai"])
    assert all(isinstance(claims[name], str) and claims[name] for name in ("sub", "scope", "grant", "idp", "jti"))
    assert all(type(one) is int and one >= 0 for one in claims["ep"])  # type: ignore[attr-defined]  # that is checked
    _check_times(claims, grace=0)


def check_subject(text: str) -> None:
    """A subject token is refused as InvalidTokenError, or it is the issuer's, for us, and now."""
    with contextlib.suppress(InvalidTokenError):
        jws.unverified_issuer(jws.parse(text).unverified_claims)
    try:
        claims = tokens.verify(jws.parse(text), _KEY, _EXPECTED, NOW)
    except InvalidTokenError:
        return
    assert claims["iss"] == CI
    assert claims["aud"] in ("keybroker", ["keybroker"])
    _check_times(claims, grace=tokens.LEEWAY)


def _check_times(claims: tokens.Claims, grace: int) -> None:
    iat, exp = claims["iat"], claims["exp"]
    assert type(iat) is int
    assert type(exp) is int
    assert exp > NOW - grace
    assert 0 < exp - iat <= 3600


class Sent(NamedTuple):
    """A request to the token endpoint. key: its Idempotency-Key."""

    content_type: str
    body: bytes
    key: str | None


def check_request(sent: Sent) -> None:
    """A request to the token endpoint is refused with 400 or 413, or is read; and nothing prints the token."""
    readers: tuple[Callable[[Fields], object], ...] = (
        lambda fields: token_request.read(fields, "req-1", sent.key),
        lambda fields: token_request.read_iam(fields, "req-1", sent.key),
        lambda fields: token_request.read_anthropic(fields, "anthropic", "req-1", sent.key),
        token_request.read_revocation,
    )
    for read in readers:
        try:
            found = read(token_request.read_fields(sent.content_type, sent.body))
        except Refusal as refusal:
            _check_refusal(refusal)
        else:
            _check_read(found)


def _check_refusal(refusal: Refusal) -> None:
    assert refusal.status in (400, 413)
    assert refusal.error in ("invalid_request", "unsupported_grant_type")


def _check_read(found: object) -> None:
    if not isinstance(found, TokenRequest):
        assert isinstance(found, str)
        assert found
        return
    assert found.audience
    for value in (found.unverified_subject_token, found.audience, found.grant or ""):
        value.encode()  # is text
    assert len(found.unverified_subject_token) < 20 or found.unverified_subject_token not in repr(found)


def check_policy(text: str) -> None:
    """A policy is refused with faults that name a line of it, or all of its grants have a scope, a quota and a key."""
    try:
        parsed = policy.parse(text, rules=DIALECT)
    except InvalidPolicyError as invalid:
        _check_faults(invalid.faults, lines=text.count("\n") + 1)
        return
    for grant in parsed.grants.values():
        assert grant.scope
        assert grant.call_limits
        assert grant.key in parsed.keys


def _check_faults(faults: Sequence[Fault], lines: int) -> None:
    assert faults
    assert all(1 <= fault.line <= lines + 1 for fault in faults), faults


@st.composite
def _tokens(draw: st.DrawFn, kind: str, claims: dict[str, Any]) -> str:
    """A token that is well signed over whatever claims, or one whose text was changed afterwards."""
    header: Any = draw(
        st.just(_HEADERS[kind]) | _changed_members(_HEADERS[kind], st.sampled_from(_ALGORITHMS) | VALUES)
    )
    payload: Any = draw(st.just(claims) | _changed_members(claims, VALUES | st.integers(NOW - 4000, NOW + 4000)))
    parts = [
        draw(st.sampled_from(_ODD_JSON)) if draw(st.integers(0, 9)) == 0 else json.dumps(one)
        for one in (header, payload)
    ]
    signing = ".".join(_b64(part.encode()) for part in parts)
    signed = _b64(ECAlgorithm(ECAlgorithm.SHA256).sign(signing.encode(), SIGNER))
    text = (
        f"{signing}.{draw(st.just(signed) | st.sampled_from(['', 'AA', signed[:-2], signed + '=', signed + signed]))}"
    )
    return draw(st.just(text) | _edited(text))


_ALGORITHMS = ["none", "HS256", "RS256", "ES384", "es256", "EdDSA", ""]


def _changed_members(members: dict[str, Any], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    more = ["crit", "jku", "jwk", "x5u", "x5c", "b64", "total", "azp", "cnf", "nbf"]
    changes = st.dictionaries(st.sampled_from([*members, *more]), values | st.just(_GONE), min_size=1, max_size=3)
    return changes.map(lambda new: {name: one for name, one in {**members, **new}.items() if one is not _GONE})


_GONE = object()


@st.composite
def _edited(draw: st.DrawFn, text: str) -> str:
    """A text with up to three edits."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from([0, 1, 1, 4, 40])))
        text = (
            text[:start]
            + draw(st.sampled_from([".", "=", "A", " ", "\n", "-", "\u0660", "\ud800"]) | TEXT)
            + text[end:]
        )
    return text


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _sent() -> st.SearchStrategy[Sent]:
    exchange = {
        "grant_type": TOKEN_EXCHANGE,
        "subject_token": "eyJhbGciOiJFUzI1NiJ9.e30.AAAA",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "audience": "openai",
    }
    bearer = {"grant_type": JWT_BEARER, "assertion": "a.b.c" * 9, "audience": "openai", "federation_rule_id": "app"}
    fields = st.sampled_from([exchange, bearer, {"audience": "openai"}])
    named = st.dictionaries(
        st.sampled_from(["scope", "grant", "actor_token", "requested_token_type", "audience"]), VALUES
    )
    objects = st.builds(lambda one, more: {**one, **more}, fields, named) | changed(fields) | fields
    forms = objects.map(lambda one: urlencode([(name, str(value)) for name, value in one.items()], errors="replace"))
    bodies = objects.map(lambda one: json.dumps(one).encode()) | forms.map(str.encode) | st.binary(max_size=60)
    odd = st.sampled_from([one.encode() for one in _ODD_JSON] + [b"a=1&a=2", b"%ff=%00", b"a" * 70_000, b"&" * 50])
    types = st.sampled_from(["application/json", "application/x-www-form-urlencoded", "", "; urlencoded", "text/plain"])
    keys = st.none() | st.sampled_from(["k" * 22, "k" * 21, "é" * 30, "\x00" * 30]) | TEXT
    return st.builds(Sent, types | TEXT, bodies | odd, keys)


@st.composite
def _policies(draw: st.DrawFn) -> str:
    """The tests' policy with lines gone, moved, doubled or edited; or any text."""
    lines = (ISSUERS + GRANTS).split("\n")
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(lines) - 1))
        what = draw(st.sampled_from(["edit", "edit", "remove", "double", "move", "indent"]))
        if what == "edit":
            lines[place] = draw(_patch(lines[place]))
        elif what == "remove":
            del lines[place]
        elif what == "double":
            lines.insert(place, lines[place])
        elif what == "move":
            lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(place))
        else:
            lines[place] = draw(st.sampled_from([" ", "  ", "\t", "- "])) + lines[place]
        lines = lines or [""]
    return "\n".join(lines)


_YAML = [
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "&a ",
    "*a",
    "!!python/name:os.system ",
    "!",
    "|",
    ">",
    "? ",
    "<<: *a",
    "---",
    "%",
]
_YAML += [
    "#",
    '"',
    "'",
    "\\x00",
    "0x1",
    "010",
    "1_0",
    "1e3",
    ".inf",
    "yes",
    "~",
    "2026-01-01",
    "*",
    "/*",
    "-*",
    "15m",
    "1/day",
]


@st.composite
def _patch(draw: st.DrawFn, line: str) -> str:
    start = draw(st.integers(0, len(line)))
    end = start + draw(st.sampled_from([0, 0, 1, 3, 100]))
    return line[:start] + draw(st.sampled_from(_YAML) | TEXT) + line[end:]
