"""The administrators' views of the audit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from chalicelib.admin import completeness, ocsf, probed, query, seen
from chalicelib.admin.ports import AdminPorts
from chalicelib.audit import FILTERS, Audit, Event, Page, Query
from chalicelib.errors import MalformedRequest
from chalicelib.http.messages import Request, Response

JSON_LINES = "application/jsonl"
_JSON_LINES = (JSON_LINES, "application/x-ndjson", "application/x-jsonlines", "application/jsonlines")
_TIMES = ("since", "until", "limit", "after")
FORMATS = ("event", "ocsf")
PAGES = 5
"""Pages of events that are read for one without those of probes."""
_Write = Callable[[Event], Mapping[str, Any]]


def list_events(request: Request, ports: AdminPorts) -> Response:
    """Answer audit events, newest first: as one object, or in JSON lines for a client that accepts them."""
    request.administrator()
    params = query.read(request, *FILTERS, *_TIMES, "format", "claims", "probes")
    write = _writer(params)
    since, until = params.time("since"), params.time("until")
    wanted = Query(
        equals={name: params.values[name] for name in FILTERS if name in params.values},
        since=since or 0,
        until=2**53 if until is None else until,
        after=params.text("after"),
        limit=params.limit(),
    )
    with query.checking_cursor():
        page = _without_probes(ports.audit, wanted) if params.flag("probes") is False else ports.audit.page(wanted)
    if _accepts_lines(request.headers.get("accept", "")):
        return _lines(page, request, write)
    answer: dict[str, object] = {"items": [write(event) for event in page.events], "next": page.next or None}
    if not (page.events or wanted.after):
        answer |= seen.nothing_known(wanted.equals, ports)
    return Response(answer)


def _without_probes(audit: Audit, wanted: Query) -> Page:
    """Return a page of what is left without the events of probes; it may hold fewer, since what is read is bounded."""
    found: tuple[Event, ...] = ()
    after = wanted.after
    for _ in range(PAGES):
        # Never more than are wanted still, so that the cursor is behind the last one that is shown.
        page = audit.page(replace(wanted, after=after, limit=wanted.limit - len(found)))
        found += tuple(event for event in page.events if not probed.is_revocation(event))
        after = page.next
        if not after or len(found) == wanted.limit:
            break
    return Page(found, after)


def check(request: Request, ports: AdminPorts) -> Response:
    """Answer whether the audit and the counters agree on the tokens issued in a window."""
    request.administrator()
    params = query.read(request, "window", "start")
    now = ports.clock()
    try:
        span = completeness.Span.containing(
            params.one_of("window", ("hour", "day")) or "day", params.time("start"), now
        )
    except ValueError as fault:
        raise MalformedRequest(str(fault)) from None
    return Response(completeness.check(span, ports.audit, ports.usage, now).to_json())


def check_chain(request: Request, ports: AdminPorts) -> Response:
    """Answer what a part of the chain of hashes says about the events."""
    request.administrator()
    params = query.read(request, "after")
    with query.checking_cursor():
        page = ports.chain.check_chain(params.text("after"))
    return Response(page.to_json())


def head(request: Request, ports: AdminPorts) -> Response:
    """Answer the newest link of the chain, or the one of a number."""
    request.administrator()
    seq = query.read(request, "seq").number("seq", 0, 2**53)
    return Response(ports.chain.head(seq).to_json())


def _writer(params: query.QueryParams) -> _Write:
    """Return how an event is written. Claims name people: OCSF, which goes to other systems, has them only when asked."""
    is_ocsf = params.one_of("format", FORMATS) == "ocsf"
    asked = params.flag("claims")
    claims = not is_ocsf if asked is None else asked

    def write(event: Event) -> Mapping[str, Any]:
        if is_ocsf:
            return ocsf.to_ocsf(event, claims=claims)
        return event.to_json() if claims else {**event.to_json(), "claims": {}}

    return write


def _accepts_lines(accept: str) -> bool:
    return any(one.partition(";")[0].strip().lower() in _JSON_LINES for one in accept.split(","))


def _lines(page: Page, request: Request, write: _Write) -> Response:
    headers = {"content-type": JSON_LINES}
    if page.next:
        # A relative reference with only a query: right at any host name and stage.
        parameters = {**request.query, "after": page.next}
        link = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters.items())
        headers["link"] = f'<?{link}>; rel="next"'
    return Response({}, headers=headers, text="".join(json.dumps(write(event)) + "\n" for event in page.events))
