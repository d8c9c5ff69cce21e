"""The bodies of the routes of signing keys, as JSON Schema 2020-12."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.admin import revocation_request, signing
from chalicelib.http.route import TEXT
from chalicelib.openapi.shapes import TIME, TRUE, YES, Schema, all_of, each, list_of, or_null, some_of

_SIGNING_KEY: Mapping[str, Schema] = {
    "kid": TEXT,
    "status": {"enum": ["signing", "live", "published", "tainted"]},
    **each(or_null(TIME), "prepared", "stopped", "tainted"),
}
SCHEMAS: Mapping[str, Schema] = {
    "SigningKeyListed": all_of(_SIGNING_KEY),
    "SigningKeyList": list_of("SigningKeyListed"),
    "SigningKeyRequest": some_of(
        {
            "action": {"enum": list(signing.EVENTS)},
            "kid": {
                **TEXT,
                "pattern": "^([A-Za-z0-9_-]{43})?$",
                "description": "the key; without one, a spare key is prepared",
            },
            "reason": {**TEXT, "maxLength": revocation_request.TEXT_LIMIT, "description": "why; needed to taint"},
        },
        "action",
    ),
    "SigningKeyAnswer": some_of(
        {
            "dry_run": TRUE,
            **_SIGNING_KEY,
            "changed": {**YES, "description": "whether anything was, or would be, changed"},
        },
        *_SIGNING_KEY,
        "changed",
    ),
}
