"""The request and response bodies of the administrators' door, as JSON Schema 2020-12."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.admin import revocation_request
from chalicelib.budget import WHATS
from chalicelib.http.route import TEXT
from chalicelib.openapi import audit_schemas, key_schemas, probe_schemas, signing_schemas, usage_schemas
from chalicelib.openapi.shapes import (
    COUNT,
    TEXTS,
    TIME,
    TRUE,
    YES,
    Schema,
    all_of,
    any_of,
    each,
    list_of,
    or_null,
    ref,
    some_of,
)
from chalicelib.policy.lint import RULES
from chalicelib.quota import WINDOWS
from chalicelib.revocation import SCOPES

_LIMIT: Schema = all_of(
    {
        "what": {"enum": ["calls", "tokens", *WHATS]},
        "window": {"enum": list(WINDOWS)},
        "limit": COUNT,
        "shared": {**YES, "description": "whether it is of all callers together"},
    }
)
_ERROR: Schema = some_of(
    {"file": TEXT, "line": COUNT, "field": TEXT, "found": TEXT, "allowed": TEXT, "rule": TEXT, "text": TEXT},
    *("file", "line", "field"),
)
_SPAN: Mapping[str, Schema] = {"window": {"enum": list(WINDOWS)}, "start": TIME, "end": TIME}
_POLICY: Schema = some_of(
    {
        "text": {**TEXT, "description": "the policy file, YAML"},
        "file": {**TEXT, "maxLength": 1024, "description": "the file name to show in faults"},
        "allow": {"type": "array", "items": {"enum": list(RULES)}, "description": "lint rules to allow"},
    },
    "text",
)
_REASON: Schema = {**TEXT, "minLength": 1, "maxLength": revocation_request.TEXT_LIMIT, "pattern": "\\S"}
_UNTIL: Schema = {**or_null(TIME), "description": "epoch seconds in the future; null for no end"}
_REVOCATION: Mapping[str, Schema] = {
    "id": TEXT,
    "scope": {"enum": list(SCOPES)},
    **each(TEXT, "target", "reason", "author"),
    "at": TIME,
    **each(or_null(TIME), "until", "lifted_at"),
    "lifted_by": or_null(TEXT),
}
_PLAN: Mapping[str, Schema] = {"version": COUNT, "changes": {"type": "array", "items": ref("Step")}}
_DID: Schema = all_of(
    {"start": TIME, "end": TIME, "grants": {"type": "array", "items": all_of(usage_schemas.GRANT_USE)}}
)
_CHANGES: Schema = {
    "type": "array",
    "items": all_of({"principal": TEXT, "key": TEXT, "before": TEXTS, "after": TEXTS}),
}
SCHEMAS: Mapping[str, Schema] = {
    "Problem": some_of(
        {
            **each(TEXT, "type", "title"),
            "status": COUNT,
            **each(TEXT, "detail", "request_id"),
            "errors": {"type": "array", "items": _ERROR, "description": "the faults of a policy"},
        },
        *("type", "title", "status", "detail", "request_id"),
    ),
    "Revocation": all_of(_REVOCATION),
    "RevocationListed": all_of({**_REVOCATION, "in_force": YES}),
    "RevocationList": list_of("RevocationListed"),
    "RevocationRequest": some_of(
        {
            "scope": {"enum": list(SCOPES)},
            "id": {
                **_REASON,
                "description": "the issuer's URL, the key's or grant's name, a `sub` or the name of just one principal, or a `jti`",
            },
            "reason": _REASON,
            "until": _UNTIL,
            "unseen": {**YES, "description": "revoke a principal or token that was never seen all the same"},
        },
        *("scope", "reason"),
    ),
    "Impact": all_of(
        {
            "dry_run": TRUE,
            "principals": {
                "type": "array",
                "items": all_of(
                    {
                        **each(TEXT, "principal", "name"),
                        "grants": TEXTS,
                        **each(COUNT, "live_tokens", "calls_last_hour"),
                    }
                ),
            },
            **each(COUNT, "tokens", "calls_last_hour"),
            "complete": {**YES, "description": "whether all relevant events were read"},
        }
    ),
    "RestoreRehearsed": all_of({"dry_run": TRUE, **_REVOCATION, "in_force": YES, "still_blocked": YES}),
    "Restored": all_of(
        {
            **_REVOCATION,
            "already_restored": {**YES, "description": "whether it was restored before, and nothing was changed"},
            "still_blocked": {
                "type": ["boolean", "null"],
                "description": "whether another revocation still blocks the same; null if that could not be read",
            },
        }
    ),
    "RestoreAnswer": any_of("Restored", "RestoreRehearsed"),
    **audit_schemas.SCHEMAS,
    "Completeness": all_of(
        {
            **_SPAN,
            "complete": YES,
            **each(COUNT, "issued_events", "counted"),
            "agree": YES,
            "differing": {
                "type": "array",
                "items": all_of({"principal": TEXT, "grant": TEXT, "events": COUNT, "counted": COUNT}),
            },
        }
    ),
    **usage_schemas.SCHEMAS,
    "Seen": all_of(
        {
            **each(TEXT, "principal", "name", "issuer"),
            "grants": TEXTS,
            "last_seen": TIME,
            **each(COUNT, "tokens", "calls", "refused"),
        }
    ),
    "SeenList": list_of("Seen"),
    "Principal": all_of(
        {
            **each(TEXT, "principal", "name", "issuer"),
            "standing": all_of(
                {
                    "epoch": COUNT,
                    "blocked": YES,
                    "blocks": {"type": "array", "items": all_of({"revocation": TEXT, "until": or_null(TIME)})},
                }
            ),
            **each(_DID, "today", "hour"),
            "live_tokens": {
                "type": "array",
                "items": all_of({"jti": TEXT, "grant": TEXT, "key": TEXT, "at": TIME, "expires": TIME}),
            },
            "ended_tokens": {
                **COUNT,
                "description": "unexpired tokens that the edge refuses: revoked, from before a restore, of a signing key that is not live, or of no grant",
            },
            "admitting": all_of(
                {
                    "version": COUNT,
                    "grants": {
                        "type": ["array", "null"],
                        "items": all_of({"grant": TEXT, "key": TEXT}),
                        "description": "those of the policy in force that admit an identity which it has shown; null where none was recorded",
                    },
                }
            ),
            "complete": {**YES, "description": "whether all live tokens are found, and each was looked up"},
            "events": {"type": "array", "items": ref("Event")},
        }
    ),
    "PinRequest": some_of({"unique_id": {**TEXT, "pattern": "^(AROA|AIDA)[A-Z0-9]{12,28}$"}}, "unique_id"),
    "Pinned": some_of({"dry_run": TRUE, "principal": TEXT, "unique_id": TEXT}, "principal", "unique_id"),
    **signing_schemas.SCHEMAS,
    **probe_schemas.SCHEMAS,
    **key_schemas.SCHEMAS,
    "PolicySent": _POLICY,
    "PolicyInForce": all_of({"version": COUNT, "text": TEXT, "author": TEXT, "at": TIME}),
    "PolicyApplied": all_of({"version": COUNT, "author": TEXT, "at": TIME}),
    "PolicyRehearsed": all_of({"dry_run": TRUE, **_PLAN}),
    "PolicyAnswer": any_of("PolicyApplied", "PolicyRehearsed"),
    "Valid": all_of({"valid": TRUE, "keys": COUNT, "issuers": COUNT, "grants": COUNT}),
    "Step": all_of(
        {
            "what": {"enum": ["key", "issuer", "grant"]},
            "name": TEXT,
            "change": {"enum": ["remove", "narrow", "change", "widen", "add"]},
            "fields": {
                "type": "object",
                "additionalProperties": {"type": "array", "minItems": 2, "maxItems": 2},
                "description": "the fields that differ: old value and new value",
            },
            "ends_tokens": {**YES, "description": "whether the tokens issued so far end when it is applied"},
        }
    ),
    "Plan": all_of(_PLAN),
    "ExplainRequest": {
        **some_of({"claims": {"type": "object"}, "token": TEXT, "key": or_null(TEXT)}),
        "oneOf": [{"required": ["claims"]}, {"required": ["token"]}],
    },
    "PolicyVersion": all_of({"version": COUNT, "author": TEXT, "at": TIME}),
    "PolicyVersionList": list_of("PolicyVersion"),
    "GrantShown": all_of(
        {
            **each(TEXT, "name", "key", "issuer"),
            "claims": {"type": "array", "items": all_of({"claim": TEXTS, "accepted": {"type": "array"}})},
            "scope": TEXTS,
            **each({**TEXTS, "type": ["array", "null"]}, "models", "source_ips"),
            "limits": {"type": "array", "items": _LIMIT},
        }
    ),
    "GrantList": list_of("GrantShown", version=COUNT, author=TEXT, at=TIME),
    "Explanation": all_of(
        {
            "version": COUNT,
            "verified": YES,
            "unverified_because": TEXT,
            "cause": TEXT,
            "issuer": or_null(TEXT),
            "principal": TEXT,
            "unusable": TEXT,
            "admitted": TEXTS,
            "grants": {
                "type": "array",
                "items": all_of(
                    {
                        **each(TEXT, "grant", "key"),
                        "admitted": YES,
                        "differences": {
                            "type": "array",
                            "items": some_of(
                                {"claim": TEXTS, "wanted": {"type": "array"}, "found": {}, "hint": TEXT},
                                *("claim", "wanted", "found"),
                            ),
                        },
                    }
                ),
            },
        }
    ),
    "Replay": all_of(
        {
            "complete": YES,
            "tried": COUNT,
            "newly_admitted": _CHANGES,
            "newly_refused": _CHANGES,
            "newly_ambiguous": _CHANGES,
        }
    ),
    "OpenApi": {"type": "object", "required": ["openapi", "info", "paths"]},
}
"""By name. A response has exactly the members listed here; a request has no others."""
