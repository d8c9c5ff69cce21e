"""Building blocks of the published schemas (JSON Schema 2020-12)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from chalicelib.http.route import TEXT

Schema = Mapping[str, Any]

COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "integer", "minimum": 0, "description": "epoch seconds"}
TEXTS: Schema = {"type": "array", "items": TEXT}
YES: Schema = {"type": "boolean"}
TRUE: Schema = {"const": True}
BY_REASON: Schema = {
    "type": "object",
    "additionalProperties": COUNT,
    "description": "how many, by the reason in the audit",
}
UNKNOWN: Mapping[str, Schema] = {
    "unknown": {
        "type": "array",
        "items": {"enum": ["principal", "grant", "key", "kind"]},
        "description": "only where nothing was found: the filters that are for what never was",
    }
}
NEXT: Schema = {
    "type": ["string", "null"],
    "description": "send this as `after` to get the next page; null on the last",
}


def ref(name: str) -> Schema:
    """Return a reference to the schema of this name."""
    return {"$ref": f"#/components/schemas/{name}"}


def each(schema: Schema, *names: str) -> Mapping[str, Schema]:
    """Return members with these names that all have the same schema."""
    return dict.fromkeys(names, schema)


def or_null(schema: Schema) -> Schema:
    """Return a schema that accepts null as well."""
    return {**schema, "type": [schema["type"], "null"]}


def all_of(members: Mapping[str, Schema], **more: Any) -> Schema:  # noqa: ANN401  JSON Schema's keywords
    """Return an object with exactly these members."""
    return {
        "type": "object",
        "properties": dict(members),
        "required": list(members),
        "additionalProperties": False,
        **more,
    }


def some_of(members: Mapping[str, Schema], *required: str) -> Schema:
    """Return an object with no other members than these, of which some are required."""
    return all_of(members, required=list(required))


def list_of(name: str, optional: Mapping[str, Schema] = MappingProxyType({}), /, **more: Schema) -> Schema:
    """Return a page of items of the schema of this name, with further members, and some that may be missing."""
    members = {**more, "items": {"type": "array", "items": ref(name)}, "next": NEXT}
    return some_of({**members, **optional}, *members)


def any_of(*names: str) -> Schema:
    """Return a schema that matches exactly one of these."""
    return {"oneOf": [ref(name) for name in names]}
