"""The bodies of the routes that replace provider keys, as JSON Schema 2020-12."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.http.route import TEXT
from chalicelib.openapi.shapes import COUNT, TIME, TRUE, YES, Schema, all_of, any_of, each, list_of, or_null, some_of
from chalicelib.providers.rotation import CREATING, LONGEST_OVERLAP_SECONDS, OVERLAP, OVERLAP_SECONDS

_SETTINGS: Schema = {"type": "object", "additionalProperties": TEXT}
STATE: Mapping[str, Schema] = {
    "rotates": {"enum": ["by_api", "by_hand", "by_minting"], "description": "how its value is replaced"},
    "before": {
        **or_null(all_of({"version": TEXT, "at": TIME})),
        "description": "the version to which a rollback goes back",
    },
    "management": {
        **or_null(all_of({"origin": TEXT, "settings": _SETTINGS, "author": TEXT, "at": TIME})),
        "description": "with which account the provider replaces it",
    },
    "rotation": {
        **or_null(
            all_of(
                {
                    **each(TEXT, "id", "author"),
                    "started": TIME,
                    "overlap": {**COUNT, "description": "seconds"},
                    "leaked": YES,
                    "step": {"enum": [CREATING, OVERLAP]},
                    "ends": {**or_null(TIME), "description": "when the key before is deleted at the provider"},
                    "problem": {**or_null(TEXT), "description": "why the last attempt came no further: send it again"},
                    "deletes": {
                        **or_null(TEXT),
                        "description": "the provider's id of the key that is deleted at the end; null: that is to be done by hand",
                    },
                }
            )
        ),
        "description": "the replacement under way",
    },
}
SCHEMAS: Mapping[str, Schema] = {
    "RotationRequest": some_of(
        {
            "overlap": {
                **COUNT,
                "maximum": LONGEST_OVERLAP_SECONDS,
                "description": f"seconds for which both keys work; {OVERLAP_SECONDS} if left out, and 0 after a leak",
            },
            "leaked": {**YES, "description": "the key is known to others: without overlap, and without a way back"},
        }
    ),
    "AbortAnswer": some_of({"dry_run": TRUE, "name": TEXT, **STATE}, "name", *STATE),
    "Rotated": all_of({"name": TEXT, "version": or_null(TEXT), **STATE}),
    "RotationRehearsed": all_of(
        {
            "dry_run": TRUE,
            "name": TEXT,
            "overlap": COUNT,
            "leaked": YES,
            "known": {**COUNT, "description": "the keys at the provider that were made for this one so far"},
        }
    ),
    "RotationAnswer": any_of("Rotated", "RotationRehearsed"),
    "RollbackRehearsed": all_of({"dry_run": TRUE, "name": TEXT, "version": TEXT}),
    "RollbackAnswer": any_of("Rotated", "RollbackRehearsed"),
    "ProviderKey": all_of(
        {
            **each(TEXT, "id", "name"),
            "created": or_null(TIME),
            "use": {"enum": ["in_force", "before", "retiring", "being_made", "orphan"]},
        }
    ),
    "ProviderKeyList": list_of("ProviderKey"),
    "ManagementRequest": some_of(
        {
            "value": {**TEXT, "maxLength": 8192, "pattern": "^[!-~]+$", "writeOnly": True},
            "settings": {**_SETTINGS, "description": "what the provider needs beside it, such as a project"},
        },
        "value",
    ),
    "ManagementAnswer": some_of({"dry_run": TRUE, "name": TEXT, **STATE}, "name", *STATE),
}
