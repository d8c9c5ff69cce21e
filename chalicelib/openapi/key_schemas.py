"""The bodies of the routes of provider keys, as JSON Schema 2020-12."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.admin import key_request
from chalicelib.http.route import TEXT
from chalicelib.openapi import federation_schemas, rotation_schemas
from chalicelib.openapi.shapes import COUNT, TIME, TRUE, YES, Schema, all_of, any_of, each, list_of, or_null, some_of

_KEY: Mapping[str, Schema] = each(TEXT, "name", "provider")
_VERSION: Mapping[str, Schema] = {
    **each(TEXT, "version", "origin", "header", "author"),
    "at": TIME,
    "expires": {**or_null(TIME), "description": "when the provider ends it; null: never, as far as is known"},
}
_PROBED: Schema = {
    "enum": ["works", "restricted", "none", "skipped"],
    "description": "what the provider says of the value; none: there is no way to ask it",
}
SCHEMAS: Mapping[str, Schema] = {
    **rotation_schemas.SCHEMAS,
    **federation_schemas.SCHEMAS,
    "KeyListed": all_of(
        {
            **_KEY,
            **{name: one if name == "expires" else or_null(one) for name, one in _VERSION.items()},
            "last_used": {**or_null(TIME), "description": "null: by nobody in 35 days"},
            "rotate_after": {**or_null(COUNT), "description": "seconds; as the policy says"},
            "due": {**or_null(TIME), "description": "when its value is to be replaced"},
            **rotation_schemas.STATE,
            **federation_schemas.STATE,
        }
    ),
    "KeyList": list_of(
        "KeyListed", complete={**YES, "description": "whether all of the counts were read that `last_used` comes from"}
    ),
    "KeyRequest": some_of(
        {
            "value": {
                **TEXT,
                "maxLength": key_request.VALUE_LIMIT,
                "pattern": "^[!-~]([ -~]*[!-~])?$",
                "writeOnly": True,
            },
            "origin": {
                **TEXT,
                "pattern": "^https?://[a-z0-9.-]+(:[0-9]+)?$",
                "description": "https, a host name, and a port unless it is 443",
            },
            "header": {**TEXT, "maxLength": key_request.HEADER_LIMIT, "pattern": "^[a-z0-9!#$%&'*+.^_`|~-]+$"},
            "prefix": {**TEXT, "maxLength": key_request.PREFIX_LIMIT, "pattern": "^([!-~][ -~]*)?$"},
        },
        "value",
    ),
    "KeySet": all_of({**_KEY, **_VERSION, "previous_origin": or_null(TEXT), "probe": _PROBED}),
    "KeyRehearsed": all_of(
        {
            "dry_run": TRUE,
            **_KEY,
            **each(TEXT, "origin", "header"),
            **each(or_null(TEXT), "previous_origin", "replaces"),
            "probe": _PROBED,
        }
    ),
    "KeyAnswer": any_of("KeySet", "KeyRehearsed"),
}
"""By name."""
