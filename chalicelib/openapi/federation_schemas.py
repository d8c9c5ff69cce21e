"""The bodies of the routes of federation, as JSON Schema 2020-12."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.http.route import TEXT
from chalicelib.openapi.shapes import COUNT, TIME, YES, Schema, all_of, each, or_null

_IDS: Schema = {"type": "object", "additionalProperties": TEXT}
STATE: Mapping[str, Schema] = {
    "held": {"enum": ["static", "federated"], "description": "whether its value is set, or minted for some minutes"},
    "federated": {**or_null(_IDS), "description": "the ids with which it is minted; as the policy says"},
    "renews": {**or_null(TIME), "description": "when the credential in force is renewed"},
    "mint_failure": {
        **or_null(
            all_of(
                {
                    **each(TEXT, "key", "problem", "request_id"),
                    "text": {**TEXT, "description": "the problem in words, and whose it is"},
                    **each(TIME, "at", "next_try"),
                    "since": {**TIME, "description": "the first of the attempts in a row that failed, epoch seconds"},
                    "denied": {**YES, "description": "the provider said no; else it was away"},
                    "failures": {**COUNT, "description": "in a row"},
                }
            )
        ),
        "description": "the last attempt for these ids, if it failed",
    },
}
SCHEMAS: Mapping[str, Schema] = {
    "FederationSetup": all_of(
        {
            **each(TEXT, "provider", "key", "audience", "policy"),
            **each(or_null(TEXT), "identity", "issuer", "subject"),
            "jwks": {"type": "object", "required": ["keys"]},
            "steps": {"type": "array", "items": TEXT},
            "ids": {**_IDS, "description": "what `federated` needs in the policy, each with its form"},
        }
    ),
    "MintTried": all_of({**each(TEXT, "name", "provider"), "expires": TIME, "life": COUNT, "request": or_null(TEXT)}),
}
"""By name."""
