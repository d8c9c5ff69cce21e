"""Reads requests to the token endpoint: form and JSON, RFC 8693 and RFC 7523."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from chalicelib import strict_json
from chalicelib.errors import BodyTooLarge, MalformedRequest
from chalicelib.exchange.errors import UnsupportedGrantType
from chalicelib.strict_json import JsonError, RepeatedNameError, Rule

BODY_LIMIT = 64 * 1024
"""Bytes of a body at most. A form spells some bytes of a token, which has up to 16 KiB, with three."""
FIELD_LIMIT = 4096
NAME_LIMIT = 512
"""Bytes of a key's or grant's name at most: no policy has a longer one, and no store could look it up."""
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105  a name, not a token
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ISSUED_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  a name, not a token
_JWT = "urn:ietf:params:oauth:token-type:jwt"
_SUBJECT_TYPES = (_JWT, "urn:ietf:params:oauth:token-type:id_token")
_REQUESTED_TYPES = (ISSUED_TOKEN_TYPE, _JWT)

Fields = Mapping[str, object]
"""The parameters of a request body by name, each sent once."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request for an access token."""

    unverified_subject_token: str
    """The subject token; "" for a caller whom API Gateway authenticated by IAM."""
    audience: str
    """The name of the key that the access token is for."""
    request_id: str
    """API Gateway's id of the request, for the audit."""
    grant: str | None = None
    """The name of the grant, None if exactly one has to match."""
    scope: frozenset[str] | None = None
    """Each `METHOD:/path` that is asked for, None for the grant's whole scope."""
    idempotency_key: str | None = None
    """What retries of this request have in common, None for a request that is not retried."""

    def __repr__(self) -> str:
        # SECURITY: the subject token must not reach a log by way of a repr (test_canary.py).
        return f"TokenRequest(audience={self.audience!r}, grant={self.grant!r}, request_id={self.request_id!r})"


def read_fields(content_type: str, body: bytes) -> Fields:
    """Return the parameters in a form or JSON body; raises BodyTooLarge or MalformedRequest."""
    if len(body) > BODY_LIMIT:
        raise BodyTooLarge(BODY_LIMIT)
    form = content_type.partition(";")[0].strip().lower().endswith("urlencoded")
    return _form(body) if form else _json(body)


def read(fields: Fields, request_id: str, key: str | None) -> TokenRequest:
    """Return the request for a token (RFC 8693, RFC 7523). key: the Idempotency-Key header, as it was sent.

    Raises MalformedRequest or UnsupportedGrantType.
    """
    return _request(fields, _subject_token(fields), _required(fields, "audience"), request_id, key)


def read_anthropic(fields: Fields, audience: str, request_id: str, key: str | None) -> TokenRequest:
    """Return the request that Anthropic's SDKs make by themselves, with `federation_rule_id` as the grant; as `read`."""
    if _text(fields, "grant_type") != JWT_BEARER:
        raise UnsupportedGrantType(JWT_BEARER)
    named = {**fields, "grant": _required(fields, "federation_rule_id")}
    return _request(named, _required(fields, "assertion"), audience, request_id, key)


def read_iam(fields: Fields, request_id: str, key: str | None) -> TokenRequest:
    """Return the request of a caller whom API Gateway authenticated by IAM: it has no subject token; as `read`."""
    if {"subject_token", "assertion"} & fields.keys():
        raise MalformedRequest("the identity is the signature's; send no subject token")
    if (_text(fields, "grant_type") or TOKEN_EXCHANGE) != TOKEN_EXCHANGE:
        raise UnsupportedGrantType(TOKEN_EXCHANGE)
    return _request(fields, "", _required(fields, "audience"), request_id, key)


def read_revocation(fields: Fields) -> str:
    """Return the token to revoke (RFC 7009 section 2.1); raises MalformedRequest."""
    return _required(fields, "token")


def _subject_token(fields: Fields) -> str:
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


def _request(fields: Fields, subject_token: str, audience: str, request_id: str, key: str | None) -> TokenRequest:
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
        request_id=request_id,
        grant=_text(fields, "grant"),
        scope=frozenset(scope.split()) if scope is not None else None,
        idempotency_key=idempotency_key(key),
    )


def _form(body: bytes) -> Fields:
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=32)
    except ValueError:
        raise MalformedRequest("malformed form body") from None
    try:
        return strict_json.unique(pairs)
    except RepeatedNameError as error:
        raise MalformedRequest(str(error)) from None


def _json(body: bytes) -> Fields:
    try:
        return strict_json.parse_object(body)
    except JsonError as error:
        raise MalformedRequest(str(error) if error.rule is Rule.NAMES else "the body must be a JSON object") from None


def _text(fields: Fields, name: str) -> str | None:
    value = fields.get(name)
    if value is None or value == "":  # RFC 6749 section 3.1: a parameter without a value counts as omitted
        return None
    if not isinstance(value, str) or (len(value) > FIELD_LIMIT and name not in ("subject_token", "assertion", "token")):
        raise MalformedRequest(f"{name} must be text of at most {FIELD_LIMIT} characters")
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair, which no store accepts
        raise MalformedRequest(f"{name} must be Unicode text") from None
    if name in ("audience", "grant", "federation_rule_id") and size > NAME_LIMIT:
        raise MalformedRequest(f"{name} must be at most {NAME_LIMIT} bytes")
    return value


def _required(fields: Fields, name: str) -> str:
    value = _text(fields, name)
    if value is None:
        raise MalformedRequest(f"{name} is missing")
    return value


def idempotency_key(value: str | None) -> str | None:
    """Return an Idempotency-Key header's value, None without one; raises MalformedRequest."""
    # 128 bits are 22 characters of base64url or 32 of hex; a shorter key could be guessed by someone who has seen the token.
    if value is not None and not (22 <= len(value) <= 256 and value.isascii() and value.isprintable()):
        raise MalformedRequest("Idempotency-Key must have 22 to 256 printable characters, with 128 random bits")
    return value
