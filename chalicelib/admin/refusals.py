"""The administrators' view of the calls that edges refused."""

from __future__ import annotations

from chalicelib.admin import query, seen
from chalicelib.admin.ports import AdminPorts
from chalicelib.errors import MalformedRequest
from chalicelib.http.messages import Request, Response


def list_refused_calls(request: Request, ports: AdminPorts) -> Response:
    """Answer the refused call of a request, if it is kept, and where else there may be one."""
    request.administrator()
    request_id = query.read(request, "request_id").text("request_id")
    if not request_id:
        raise MalformedRequest("request_id is missing")
    could_be = seen.can_be_looked_up(request_id)
    found = ports.refused_calls.refused_call(request_id, ports.clock()) if could_be else None
    items = [] if found is None else [found.to_json()]
    return Response({"items": items, "next": None, "edge_log": ports.edge_log or None})
