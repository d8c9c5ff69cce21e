"""The administrators' door's answers about the audit."""

from __future__ import annotations

import json
from urllib.parse import quote

from chalicelib.admin import completeness
from chalicelib.admin import query as admin_query
from chalicelib.admin.ports import AdminPorts
from chalicelib.audit import FILTERS, Page, Query
from chalicelib.errors import MalformedRequest
from chalicelib.http.messages import Request, Response

JSON_LINES = "application/jsonl"
_JSON_LINES = (JSON_LINES, "application/x-ndjson", "application/x-jsonlines", "application/jsonlines")
_TIMES = ("since", "until", "limit", "after")


def audit(request: Request, ports: AdminPorts) -> Response:
    """Answer events, newest first: one object, or one event per line for whoever accepts that."""
    request.administrator()
    asked = admin_query.read(request, *FILTERS, *_TIMES)
    since, until = asked.time("since"), asked.time("until")
    query = Query(
        equals={name: asked.values[name] for name in FILTERS if name in asked.values},
        since=since or 0,
        until=2**53 if until is None else until,
        after=asked.text("after"),
        limit=asked.limit(),
    )
    try:
        page = ports.audit.page(query)
    except ValueError:
        raise MalformedRequest("after must be the `next` of a page before") from None
    if _accepts_lines(request.headers.get("accept", "")):
        return _lines(page, request)
    return Response({"items": [event.to_json() for event in page.events], "next": page.next or None})


def check(request: Request, ports: AdminPorts) -> Response:
    """Answer whether the audit and the counters say the same of a window."""
    request.administrator()
    asked = admin_query.read(request, "window", "start")
    now = ports.clock()
    try:
        span = completeness.Span.containing(asked.one_of("window", ("hour", "day")) or "day", asked.time("start"), now)
    except ValueError as fault:
        raise MalformedRequest(str(fault)) from None
    return Response(completeness.check(span, ports.audit, ports.usage, now).to_json())


def _accepts_lines(accept: str) -> bool:
    return any(one.partition(";")[0].strip().lower() in _JSON_LINES for one in accept.split(","))


def _lines(page: Page, request: Request) -> Response:
    headers = {"content-type": JSON_LINES}
    if page.next:
        # A reference with a query alone: it is right under whatever address and stage the request came by.
        parameters = {**request.query, "after": page.next}
        query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters.items())
        headers["link"] = f'<?{query}>; rel="next"'
    return Response({}, headers=headers, text="".join(json.dumps(event.to_json()) + "\n" for event in page.events))
