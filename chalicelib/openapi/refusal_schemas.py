"""The bodies of the route of refused calls, as JSON Schema 2020-12."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.http.route import TEXT
from chalicelib.openapi.shapes import TIME, YES, Schema, all_of, each, list_of

_UNVERIFIED: Schema = {**TEXT, "description": 'verified when it was refused; "" if it was not'}

SCHEMAS: Mapping[str, Schema] = {
    "RefusedCall": all_of(
        {
            "at": TIME,
            "request_id": TEXT,
            "reason": {**TEXT, "description": "as the log has it (docs/errors.md)"},
            "status": {"type": "integer", "minimum": 100, "maximum": 599},
            **each(_UNVERIFIED, "key", "grant", "principal", "jti"),
            "cause": {**TEXT, "description": 'the word by which AWS refused the edge; "" if it did not'},
            "under_way": {**YES, "description": "whether it had been admitted, and was ended while it ran"},
        }
    ),
    "RefusedCallList": list_of(
        "RefusedCall",
        edge_log={
            "type": ["string", "null"],
            "description": "the log group, in whichever region ran it, of an edge whose refusals are there alone; null: none is",
        },
    ),
}
