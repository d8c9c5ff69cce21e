"""The administrators' views of usage: of one window, the busiest in it, or one window after the other."""

from __future__ import annotations

from chalicelib.admin import probed, query, seen, totals
from chalicelib.admin.ports import AdminPorts
from chalicelib.admin.query import QueryParams
from chalicelib.admin.totals import ORDERS, Totals
from chalicelib.audit import PAGE_LIMIT
from chalicelib.errors import MalformedRequest
from chalicelib.http.messages import Request, Response
from chalicelib.quota import WINDOWS
from chalicelib.usage import UsageQuery, window_start

_OF_SERIES = ("since", "until")
_OF_WINDOW = ("window", "at", "limit", "after", "top", "by")
_NAMED = ("principal", "grant", "key")


def list_usage(request: Request, ports: AdminPorts) -> Response:
    """Answer what each principal did under each grant in the window that contains a time, or sums of one window after the other."""
    request.administrator()
    params = query.read(request, "series", *_OF_WINDOW, *_NAMED, *_OF_SERIES)
    _check_together(params)
    if params.text("series"):
        return _series(params, ports)
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
    if (top := params.number("top", 1, PAGE_LIMIT)) is not None:
        return _top(Totals.read(ports.usage, wanted), params.one_of("by", ORDERS) or "calls", top)
    with query.checking_cursor():
        page = ports.usage.uses(wanted)
    items = [use.to_json() for use in page.uses if not probed.is_left_out(use, wanted)]
    span = {"window": window, "start": start, "end": start + WINDOWS[window]}
    answer: dict[str, object] = {**span, "items": items, "next": page.next or None}
    if not (items or wanted.after):
        answer |= seen.nothing_known({name: params.text(name) for name in _NAMED if params.text(name)}, ports)
    return Response(answer)


def _check_together(params: QueryParams) -> None:
    """Raise MalformedRequest for parameters that do not go together."""
    series, given = params.one_of("series", WINDOWS), params.values.keys()
    if series and (wrong := [name for name in _OF_WINDOW if name in given]):
        raise MalformedRequest(f"{wrong[0]} is of one window, and series of several: send one of them")
    if not series and (wrong := [name for name in _OF_SERIES if name in given]):
        raise MalformedRequest(f"{wrong[0]} needs series")
    if "by" in given and "top" not in given:
        raise MalformedRequest("by needs top")
    if "top" in given and (wrong := [name for name in ("limit", "after") if name in given]):
        raise MalformedRequest(f"{wrong[0]} is of pages, and top has one: send one of them")


def _top(found: Totals, by: str, most: int) -> Response:
    """Answer the busiest, the largest first. `complete`: whether everybody was looked at."""
    items = [use.to_json() for use in found.busiest(by, most)]
    return Response({"window": found.query.window, **found.span(), "by": by, "items": items, "next": None})


def _series(params: QueryParams, ports: AdminPorts) -> Response:
    """Answer the sums of each window, the oldest first; one in which nothing was done has zeros."""
    window, now = params.text("series"), ports.clock()
    until = params.time("until")
    try:
        starts = totals.points(window, params.time("since"), min(now, now if until is None else until))
    except ValueError as fault:
        raise MalformedRequest(str(fault)) from None
    principal, grant, key = (params.text(name) for name in _NAMED)
    wanted = UsageQuery(window, 0, principal, grant, key, now=now)
    found = totals.series(ports.usage, wanted, starts)
    items = [{**one.span(), **one.sums().to_json()} for one in found]
    return Response({"series": window, "items": items, "next": None, "complete": all(one.complete for one in found)})
