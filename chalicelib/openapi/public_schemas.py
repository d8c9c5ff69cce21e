"""The request and response bodies of the public door, as JSON Schema 2020-12."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.budget import WHATS
from chalicelib.exchange import request as token_request
from chalicelib.http.route import TEXT
from chalicelib.openapi.shapes import BY_REASON, COUNT, TIME, Schema, all_of, each, or_null, some_of
from chalicelib.openapi.usage_schemas import MODEL_USE
from chalicelib.quota import WINDOWS

_FIELD: Schema = {"type": "string", "maxLength": token_request.FIELD_LIMIT}
_NEEDED: Schema = {**_FIELD, "minLength": 1}
_EXCHANGE: Mapping[str, Schema] = {
    "audience": {**_NEEDED, "description": "the name of a key"},
    "grant": {**or_null(_FIELD), "description": "the name of a grant; required if several admit the caller"},
    "scope": {
        **or_null(_FIELD),
        "description": "`METHOD:/path`, separated by spaces; the default is the grant's whole scope",
    },
    "requested_token_type": or_null(_FIELD),
}
_OWN_USE: Schema = all_of(
    {
        "window": {"enum": ["hour", "day"]},
        **each(TIME, "start", "end"),
        **each(COUNT, "calls", "tokens"),
        **each(BY_REASON, "refused_calls", "refused_tokens"),
        "models": {"type": "array", "items": MODEL_USE},
        "last_seen": TIME,
    }
)
_OWN_LIMIT: Schema = all_of(
    {
        "what": {
            "enum": ["calls", "tokens", *WHATS],
            "description": "`tokens` are issued by the broker; `usage` is tokens of models, `spend` millionths of a dollar",
        },
        "window": {"enum": list(WINDOWS)},
        **each(COUNT, "limit", "used"),
        "reserved": {**COUNT, "description": "by calls under way"},
        "left": COUNT,
        "resets": {**TIME, "description": "when the window ends"},
    }
)

SCHEMAS: Mapping[str, Schema] = {
    "OAuthError": some_of({"error": TEXT, "error_description": TEXT, "request_id": TEXT}, "error", "request_id"),
    "ExchangeRequest": {
        "type": "object",
        "properties": {
            "grant_type": {"enum": [token_request.TOKEN_EXCHANGE, token_request.JWT_BEARER]},
            **each(or_null(TEXT), "subject_token", "subject_token_type", "assertion"),
            **_EXCHANGE,
        },
        "required": ["grant_type", "audience"],
    },
    "IamRequest": {
        "type": "object",
        "properties": {"grant_type": {"enum": [token_request.TOKEN_EXCHANGE, "", None]}, **_EXCHANGE},
        "required": ["audience"],
    },
    "AnthropicRequest": {
        "type": "object",
        "properties": {
            "grant_type": {"const": token_request.JWT_BEARER},
            "assertion": TEXT,
            "federation_rule_id": {**_NEEDED, "description": "the name of a grant"},
        },
        "required": ["grant_type", "assertion", "federation_rule_id"],
    },
    "TokenAnswer": all_of(
        {
            **each(TEXT, "access_token", "issued_token_type"),
            "token_type": {"const": "Bearer"},
            "expires_in": COUNT,
            **each(TEXT, "scope", "base_url"),
        }
    ),
    "RevokeRequest": {
        "type": "object",
        "properties": {"token": {**TEXT, "minLength": 1}, "token_type_hint": {"description": "ignored"}},
        "required": ["token"],
    },
    "Nothing": all_of({}),
    "Jwks": all_of({"keys": {"type": "array", "items": {"type": "object", "required": ["kty", "kid"]}}}),
    "Metadata": {"type": "object", "required": ["issuer", "token_endpoint", "jwks_uri"]},
    "FederationMetadata": {"type": "object", "required": ["issuer", "jwks_uri"]},
    "Audience": all_of({"audience": TEXT}),
    "OwnUsage": all_of(
        {
            **each(TEXT, "principal", "grant", "key"),
            **each(TIME, "at", "expires"),
            "usage": {"type": "array", "items": _OWN_USE},
            "limits": {"type": "array", "items": _OWN_LIMIT},
        }
    ),
    "Health": all_of({"status": {"const": "ok"}}),
}
"""By name."""
