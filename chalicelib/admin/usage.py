"""The administrators' view of usage."""

from __future__ import annotations

from chalicelib.admin import query, seen
from chalicelib.admin.ports import AdminPorts
from chalicelib.http.messages import Request, Response
from chalicelib.quota import WINDOWS
from chalicelib.usage import UsageQuery, window_start


def list_usage(request: Request, ports: AdminPorts) -> Response:
    """Answer what each principal did under each grant in the window that contains a time."""
    request.administrator()
    params = query.read(request, "window", "at", "principal", "grant", "key", "limit", "after")
    window, at = params.one_of("window", WINDOWS) or "day", params.time("at")
    now = ports.clock()
    start = window_start(window, now if at is None else at)
    wanted = UsageQuery(
        window=window,
        start=start,
        principal=params.text("principal"),
        grant=params.text("grant"),
        key=params.text("key"),
        after=params.text("after"),
        limit=params.limit(),
        now=now,
    )
    with query.checking_cursor():
        page = ports.usage.uses(wanted)
    items = [use.to_json() for use in page.uses]
    span = {"window": window, "start": start, "end": start + WINDOWS[window]}
    answer: dict[str, object] = {**span, "items": items, "next": page.next or None}
    if not (items or wanted.after):
        answer |= seen.nothing_known(params.values, ports)
    return Response(answer)
