"""The bodies of the routes of usage, as JSON Schema 2020-12."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.admin.totals import ORDERS
from chalicelib.http.route import TEXT
from chalicelib.openapi.shapes import (
    BY_REASON,
    COUNT,
    TIME,
    UNKNOWN,
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
from chalicelib.quota import WINDOWS

GRANT_USE: Mapping[str, Schema] = {
    **each(TEXT, "grant", "key"),
    **each(COUNT, "tokens", "calls"),
    **each(BY_REASON, "refused_tokens", "refused_calls"),
    "last_seen": TIME,
}
MODEL_USE: Schema = all_of(
    {"model": TEXT, **each(COUNT, "answers", "unknown", "input_tokens", "output_tokens", "cached_tokens")}
)
_DATE: Schema = {
    "type": "string",
    "pattern": r"^\d{4}-\d{2}-\d{2}$",
    "description": "of money: the date of the prices by which the last call was charged",
}
_BUDGET_USE: Schema = some_of({**each(COUNT, "used", "reserved"), "prices": _DATE}, "used", "reserved")
_WINDOW: Mapping[str, Schema] = {"window": {"enum": list(WINDOWS)}}
_TIMES: Mapping[str, Schema] = {"start": TIME, "end": TIME}
_COMPLETE: Mapping[str, Schema] = {"complete": {**YES, "description": "whether everything was read"}}
_SUMS: Mapping[str, Schema] = {
    **each(COUNT, "calls", "tokens"),
    **each(BY_REASON, "refused_calls", "refused_tokens"),
    "principals": COUNT,
}
_BY_NAME: Schema = {"type": "object", "additionalProperties": all_of(_SUMS)}
_OF_WINDOW: Schema = all_of({**_TIMES, **_COMPLETE, "total": all_of(_SUMS), "keys": _BY_NAME, "grants": _BY_NAME})
_BUSY: Schema = all_of(
    {
        **each(TEXT, "principal", "name", "grant", "key"),
        **each(COUNT, "calls", "tokens"),
        "refused_calls": BY_REASON,
        "last_seen": TIME,
        "share": {"type": "number", "description": "of all calls of this hour"},
    }
)
_FROZEN: Schema = all_of(
    {**each(TEXT, "id", "scope", "target", "reason", "author"), "at": TIME, "until": or_null(TIME)}
)
_RESPONSES: Schema = {
    **all_of(
        {
            "start": TIME,
            **each(COUNT, "calls", "failed"),
            **each(or_null({"type": "number", "description": "to the first byte"}), "p50_seconds", "p95_seconds"),
        }
    ),
    "description": "answers but for refusals, at edges that see them: one machine's and gateways'",
}
SCHEMAS: Mapping[str, Schema] = {
    "Use": all_of(
        {
            "principal": TEXT,
            "name": TEXT,
            **GRANT_USE,
            "models": {"type": "array", "items": MODEL_USE},
            "budgets": {"type": "object", "additionalProperties": _BUDGET_USE},
        }
    ),
    "UsageList": list_of("Use", UNKNOWN, **_WINDOW, **_TIMES),
    "UsageTop": list_of("Use", **_WINDOW, **_TIMES, **_COMPLETE, by={"enum": list(ORDERS)}),
    "UsagePoint": all_of({**_TIMES, **_COMPLETE, **_SUMS}),
    "UsageSeries": list_of("UsagePoint", series={"enum": list(WINDOWS)}, **_COMPLETE),
    "UsageAnswer": any_of("UsageList", "UsageTop", "UsageSeries"),
    "Now": all_of(
        {
            "at": TIME,
            **each(_OF_WINDOW, "hour", "day"),
            "busiest": {"type": "array", "items": _BUSY},
            "revoked": all_of(
                {
                    "in_force": {
                        "type": "object",
                        "additionalProperties": COUNT,
                        "description": "by scope, but for tokens",
                    },
                    "frozen": {"type": "array", "items": _FROZEN},
                    **_COMPLETE,
                }
            ),
            "responses": all_of(each({"type": "array", "items": _RESPONSES}, "minutes", "hours")),
            "revocation_probes": {"type": "array", "items": ref("RevocationProbe")},
        }
    ),
}
