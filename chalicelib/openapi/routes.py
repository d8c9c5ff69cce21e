"""Every route of both doors. The route of the OpenAPI document itself is defined here, since it describes all others."""

from __future__ import annotations

from chalicelib.admin import query, routes
from chalicelib.admin.ports import AdminPorts
from chalicelib.http import public_routes
from chalicelib.http.messages import Request, Response
from chalicelib.http.route import Route
from chalicelib.openapi.document import Routes, document


def get_document(request: Request, _ports: AdminPorts) -> Response:
    """Answer the OpenAPI document of both doors."""
    request.administrator()
    query.read(request)
    return Response(document(ROUTES))


ADMIN: tuple[Route[AdminPorts], ...] = (
    *routes.ROUTES,
    Route("GET", "/admin/openapi.json", "This document", {200: "OpenApi"}, get_document),
)
ROUTES: Routes = (*ADMIN, *public_routes.ROUTES)
"""In the order in which the document has them."""
