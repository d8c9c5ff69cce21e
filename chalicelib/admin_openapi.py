"""The administrators' door's description of itself, and of the public one."""

from __future__ import annotations

from chalicelib import admin_query, openapi
from chalicelib.http_api import Answer, Arrival, Ports


def document(arrival: Arrival, _ports: Ports) -> Answer:
    """Answer the OpenAPI document."""
    arrival.administrator()
    admin_query.read(arrival)
    return Answer(openapi.document())
