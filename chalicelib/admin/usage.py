"""The administrators' door's answers about who used what."""

from __future__ import annotations

from chalicelib.admin import query as admin_query
from chalicelib.admin.ports import AdminPorts
from chalicelib.errors import MalformedRequest
from chalicelib.http.messages import Request, Response
from chalicelib.quota import WINDOWS
from chalicelib.usage import UsageQuery, window_start


def usage(request: Request, ports: AdminPorts) -> Response:
    """Answer what each principal did under each grant in the window of a time."""
    request.administrator()
    asked = admin_query.read(request, "window", "at", "principal", "grant", "key", "limit", "after")
    window, at = asked.one_of("window", WINDOWS) or "day", asked.time("at")
    start = window_start(window, ports.clock() if at is None else at)
    query = UsageQuery(
        window=window,
        start=start,
        principal=asked.text("principal"),
        grant=asked.text("grant"),
        key=asked.text("key"),
        after=asked.text("after"),
        limit=asked.limit(),
    )
    try:
        page = ports.usage.uses(query)
    except ValueError:
        raise MalformedRequest("after must be the `next` of a page before") from None
    items = [use.to_json() for use in page.uses]
    span = {"window": window, "start": start, "end": start + WINDOWS[window]}
    return Response({**span, "items": items, "next": page.next or None})
