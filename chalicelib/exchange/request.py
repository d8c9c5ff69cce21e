"""Reads what callers send to the token endpoint: form and JSON, RFC 8693 and RFC 7523."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from chalicelib import parameters, strict_json
from chalicelib.errors import BodyTooLarge, MalformedRequest
from chalicelib.exchange.errors import UnsupportedGrantType
from chalicelib.parameters import RepeatedParameterError
from chalicelib.strict_json import JsonError, Rule

BODY_LIMIT = 64 * 1024
"""Bytes of a body at most: a form needs three for some bytes of a token of 16 KiB."""
FIELD_LIMIT = 4096
NAME_LIMIT = 512
"""Bytes of a key's or grant's name at most, as asked for: what is longer is no name, and would fit into no state's key."""
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105  a name, not a token
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ISSUED_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  a name, not a token
_JWT = "urn:ietf:params:oauth:token-type:jwt"
_SUBJECT_TYPES = (_JWT, "urn:ietf:params:oauth:token-type:id_token")
_REQUESTED_TYPES = (ISSUED_TOKEN_TYPE, _JWT)


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a caller asks for. scope: None for all that the grant has. idempotency_key: of this request's retries."""

    unverified_subject_token: str
    audience: str
    request_id: str
    grant: str | None = None
    scope: frozenset[str] | None = None
    idempotency_key: str | None = None

    def __repr__(self) -> str:
        # SECURITY: the subject token must not reach a log by way of a repr (test_canary.py).
        return f"TokenRequest(audience={self.audience!r}, grant={self.grant!r}, request_id={self.request_id!r})"


@dataclass(frozen=True, slots=True, repr=False)
class Sent:
    """What arrived. idempotency_key: the header's value."""

    content_type: str
    body: bytes
    idempotency_key: str | None
    request_id: str


def read(sent: Sent) -> TokenRequest:
    """Return what is asked for, or raise MalformedRequest or UnsupportedGrantType."""
    fields = _fields(sent)
    return _request(sent, fields, _subject_token(fields), _required(fields, "audience"))


def read_anthropic(sent: Sent, audience: str) -> TokenRequest:
    """Return what Anthropic's SDKs ask for by themselves; `federation_rule_id` is the grant."""
    fields = _fields(sent)
    if _text(fields, "grant_type") != JWT_BEARER:
        raise UnsupportedGrantType(JWT_BEARER)
    named = {**fields, "grant": _required(fields, "federation_rule_id")}
    return _request(sent, named, _required(fields, "assertion"), audience)


def read_iam(sent: Sent) -> TokenRequest:
    """Return what a caller asks for whom IAM has authenticated: there is no subject token."""
    fields = _fields(sent)
    if {"subject_token", "assertion"} & fields.keys():
        raise MalformedRequest("the identity is the signature's; send no subject token")
    if (_text(fields, "grant_type") or TOKEN_EXCHANGE) != TOKEN_EXCHANGE:
        raise UnsupportedGrantType(TOKEN_EXCHANGE)
    return _request(sent, fields, "", _required(fields, "audience"))


def read_revocation(sent: Sent) -> str:
    """Return the token that its holder takes back (RFC 7009 section 2.1)."""
    return _required(_fields(sent), "token")


def _fields(sent: Sent) -> Mapping[str, object]:
    if len(sent.body) > BODY_LIMIT:
        raise BodyTooLarge(BODY_LIMIT)
    form = sent.content_type.partition(";")[0].strip().lower().endswith("urlencoded")
    return _form(sent.body) if form else _json(sent.body)


def _subject_token(fields: Mapping[str, object]) -> str:
    grant_type = _text(fields, "grant_type")
    if grant_type == TOKEN_EXCHANGE:
        token = _required(fields, "subject_token")
        if _required(fields, "subject_token_type") not in _SUBJECT_TYPES:
            raise MalformedRequest("subject_token_type must be jwt or id_token")
        return token
    if grant_type == JWT_BEARER:
        return _required(fields, "assertion")
    if grant_type is None:
        raise MalformedRequest("grant_type is missing")
    raise UnsupportedGrantType(TOKEN_EXCHANGE, JWT_BEARER)


def _request(sent: Sent, fields: Mapping[str, object], subject_token: str, audience: str) -> TokenRequest:
    if (_text(fields, "requested_token_type") or ISSUED_TOKEN_TYPE) not in _REQUESTED_TYPES:
        raise MalformedRequest("requested_token_type must be access_token")
    if "actor_token" in fields:
        raise MalformedRequest("actor_token is not supported")
    scope = _text(fields, "scope")
    if scope is not None and not scope.split():
        raise MalformedRequest("scope must name at least one METHOD:/path")
    return TokenRequest(
        unverified_subject_token=subject_token,
        audience=audience,
        request_id=sent.request_id,
        grant=_text(fields, "grant"),
        scope=frozenset(scope.split()) if scope is not None else None,
        idempotency_key=idempotency_key(sent.idempotency_key),
    )


def _form(body: bytes) -> Mapping[str, object]:
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=32)
    except ValueError:
        raise MalformedRequest("the body is no form") from None
    try:
        return parameters.unique(pairs)
    except RepeatedParameterError as error:
        raise MalformedRequest(str(error)) from None


def _json(body: bytes) -> Mapping[str, object]:
    try:
        return strict_json.parse_object(body)
    except JsonError as error:
        raise MalformedRequest(str(error) if error.rule is Rule.NAMES else "the body is no JSON object") from None


def _text(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    if value is None or value == "":  # RFC 6749 section 3.1: a parameter without a value counts as omitted
        return None
    if not isinstance(value, str) or (len(value) > FIELD_LIMIT and name not in ("subject_token", "assertion", "token")):
        raise MalformedRequest(f"{name} must be text of at most {FIELD_LIMIT} characters")
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair, which no state could store
        raise MalformedRequest(f"{name} must be Unicode text") from None
    if name in ("audience", "grant", "federation_rule_id") and size > NAME_LIMIT:
        raise MalformedRequest(f"{name} must be at most {NAME_LIMIT} bytes")
    return value


def _required(fields: Mapping[str, object], name: str) -> str:
    value = _text(fields, name)
    if value is None:
        raise MalformedRequest(f"{name} is missing")
    return value


def idempotency_key(value: str | None) -> str | None:
    """Return an Idempotency-Key header's value, None without one; raises MalformedRequest."""
    # 128 bits are 22 characters of base64url or 32 of hex; what is shorter could be guessed by whoever saw the token.
    if value is not None and not (22 <= len(value) <= 256 and value.isascii() and value.isprintable()):
        raise MalformedRequest("Idempotency-Key must have 22 to 256 printable characters, with 128 random bits")
    return value
