"""The shapes that the published schemas are put together of (JSON Schema 2020-12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.http.route import TEXT

Schema = Mapping[str, Any]

COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "integer", "minimum": 0, "description": "epoch seconds"}
TEXTS: Schema = {"type": "array", "items": TEXT}
YES: Schema = {"type": "boolean"}
TRUE: Schema = {"const": True}
BY_REASON: Schema = {"type": "object", "additionalProperties": COUNT, "description": "how many, by the audit's reason"}
NEXT: Schema = {"type": ["string", "null"], "description": "send it as `after` for the next page; null at the end"}


def ref(name: str) -> Schema:
    """Return a reference to one of SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


def each(schema: Schema, *names: str) -> Mapping[str, Schema]:
    """Return members of these names, all of one schema."""
    return dict.fromkeys(names, schema)


def or_null(schema: Schema) -> Schema:
    """Return a schema that lets null in, too."""
    return {**schema, "type": [schema["type"], "null"]}


def all_of(members: Mapping[str, Schema], **more: Any) -> Schema:  # noqa: ANN401  JSON Schema's keywords
    """Return an object that has exactly these members."""
    return {
        "type": "object",
        "properties": dict(members),
        "required": list(members),
        "additionalProperties": False,
        **more,
    }


def some_of(members: Mapping[str, Schema], *required: str) -> Schema:
    """Return an object that has none but these members, and these at least."""
    return all_of(members, required=list(required))


def list_of(name: str, **more: Schema) -> Schema:
    """Return a page of one of SCHEMAS, with more members beside it."""
    return all_of({**more, "items": {"type": "array", "items": ref(name)}, "next": NEXT})


def any_of(*names: str) -> Schema:
    """Return a schema that is one of these."""
    return {"oneOf": [ref(name) for name in names]}
