"""The administrators' view of how long a revocation takes."""

from __future__ import annotations

from chalicelib.admin import query
from chalicelib.admin.ports import AdminPorts
from chalicelib.http.messages import Request, Response


def list_revocation_probes(request: Request, ports: AdminPorts) -> Response:
    """Answer the newest measurement of each place."""
    request.administrator()
    query.read(request)
    found = ports.revocation_probes.revocation_probes()
    return Response({"items": [one.to_json() for one in found], "next": None})
