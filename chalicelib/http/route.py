"""One route of a door: what the web framework registers, and what the OpenAPI document says about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Concatenate, Generic, Literal, TypeVar

from chalicelib.exchange.request import BODY_LIMIT
from chalicelib.http.messages import Request, Response

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
TEXT: Mapping[str, Any] = {"type": "string"}

Ports = TypeVar("Ports")
"""The set of ports of the door that a route belongs to."""
View = Callable[Concatenate[Request, Ports, ...], Response]
"""Answers one route: takes the request, the door's ports, and each `{name}` in the path as a keyword argument."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a route."""

    name: str
    """As it is sent."""
    description: str
    """What it does, for the reader of the document."""
    schema: Mapping[str, Any] = field(default_factory=lambda: TEXT)
    """JSON Schema of its value."""
    location: Literal["query", "path", "header"] = "query"
    """Where it is sent; `in` in OpenAPI."""
    required: bool = False
    """Whether a request without it is refused."""


@dataclass(frozen=True, slots=True)
class Route(Generic[Ports]):
    """A route. The names of schemas are those in chalicelib/openapi/{admin,public}_schemas.py."""

    method: str
    """The HTTP method, in upper case."""
    path: str
    """The path, with `{name}` for each part that varies."""
    summary: str
    """What it does, in one sentence."""
    responses: Mapping[int, str]
    """The name of each success response's schema, by status."""
    view: View[Ports]
    """What answers it."""
    parameters: tuple[Parameter, ...] = ()
    """Parameters of query, path and header."""
    body: str = ""
    """The name of the request body's schema; "" for a route without a body."""
    body_limit: int = BODY_LIMIT
    """Bytes of a request body at most."""
    refusals: tuple[int, ...] = ()
    """Statuses of refusals beside those that every route of its door can answer."""
    content_types: tuple[str, ...] = (JSON,)
    """What a request body may be sent as."""
    # SECURITY: a route is signed unless its table says otherwise, and the administrators' table never does
    # (test_admin_routes_are_signed).
    signed: bool = True
    """Whether API Gateway's IAM authorizer is in front of it."""
    bearer: bool = False
    """Whether a token of the broker has to come with the request, which the view verifies."""
    etag: bool = False
    """Whether its response carries an ETag."""
    json_lines: bool = False
    """Whether it can answer in JSON lines."""

    @property
    def admin(self) -> bool:
        """Whether it is at the administrators' door."""
        return self.path.startswith("/admin/")
