"""The administrators' door's description of itself, and of the public one."""

from __future__ import annotations

from chalicelib.admin import query as admin_query
from chalicelib.http.messages import Answer, Arrival, Ports
from chalicelib.openapi import document as openapi


def document(arrival: Arrival, _ports: Ports) -> Answer:
    """Answer the OpenAPI document."""
    arrival.administrator()
    admin_query.read(arrival)
    return Answer(openapi.document())
