"""The bodies of the routes about audit events and their chain, as JSON Schema 2020-12."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.admin.audit_chain import FAULTS
from chalicelib.audit import KINDS
from chalicelib.http.route import TEXT
from chalicelib.openapi import refusal_schemas
from chalicelib.openapi.shapes import COUNT, NEXT, TIME, UNKNOWN, Schema, all_of, any_of, each, some_of

SCHEMAS: Mapping[str, Schema] = {
    "Event": all_of(
        {
            "id": TEXT,
            "at": TIME,
            "kind": {"enum": list(KINDS)},
            "request_id": TEXT,
            **each(TEXT, "principal", "principal_name", "issuer", "key", "grant", "jti"),
            "expires": COUNT,
            **each(TEXT, "reason", "actor"),
            "claims": {"type": "object"},
            "detail": {"type": "object", "additionalProperties": TEXT},
            "repeated": {**COUNT, "description": "how often the same was refused again within 10 minutes"},
        }
    ),
    "OcsfEvent": {
        "type": "object",
        "description": "an event as `format=ocsf` writes it, see https://schema.ocsf.io/1.5.0",
        "required": ["metadata", "class_uid", "category_uid", "activity_id", "type_uid", "severity_id", "time"],
    },
    "EventList": some_of(
        {"items": {"type": "array", "items": any_of("Event", "OcsfEvent")}, "next": NEXT, **UNKNOWN}, "items", "next"
    ),
    "ChainPage": all_of(
        {
            "items": {
                "type": "array",
                "items": all_of({"what": {"enum": list(FAULTS)}, "seq": {"type": "integer"}, "id": TEXT, "at": COUNT}),
            },
            **each(COUNT, "links", "events", "unchained"),
            "next": NEXT,
        }
    ),
    **refusal_schemas.SCHEMAS,
    "ChainHead": all_of({"seq": COUNT, "hash": TEXT, "at": COUNT, **each(COUNT, "kept_from", "newest")}),
}
