"""The bodies of the route of measurements, as JSON Schema 2020-12."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.http.route import TEXT
from chalicelib.openapi.shapes import COUNT, TIME, Schema, all_of, list_of

SCHEMAS: Mapping[str, Schema] = {
    "RevocationProbe": all_of(
        {
            "where": TEXT,
            "at": TIME,
            "outcome": {"enum": ["held", "late", "never", "unknown"]},
            "seconds": {
                "type": ["number", "null"],
                "description": "from the acknowledgement until the first refusal was there, an upper bound; null if it did not, or nothing is known",
            },
            "open_after": {**COUNT, "description": "calls after the acknowledgement that were not refused as revoked"},
        }
    ),
    "RevocationProbeList": list_of("RevocationProbe"),
}
