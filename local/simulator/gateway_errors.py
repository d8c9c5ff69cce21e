"""The simulated API Gateway's own error responses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import web

_ERRORS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        400: ("invalid_request", "Bad Request"),
        403: ("access_denied", "Forbidden"),
        404: ("invalid_request", "Not Found"),
        405: ("invalid_request", "Method Not Allowed"),
        408: ("invalid_request", "Request Timeout"),
        413: ("invalid_request", "invalid_request"),  # as the app says where a body is over its limit
        431: ("invalid_request", "Request Header Fields Too Large"),
        502: ("server_error", "Bad Gateway"),
        503: ("temporarily_unavailable", "Service Unavailable"),
        504: ("temporarily_unavailable", "Gateway Timeout"),
    }
)
"""By status: the OAuth error code of the public API, and the title of the admin API's problem+json."""


class GatewayError(Exception):
    """An error response of the gateway itself. status: one of _ERRORS. detail: for the caller, without the app's texts."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def too_busy() -> GatewayError:
    """Return the error for a request that finds no place."""
    return GatewayError(503, "too many concurrent requests", {"Retry-After": "1"})


def error_response(error: GatewayError, request_id: str, *, admin: bool) -> web.Response:
    """Return the response for an error, in the API's own format. Some errors end the connection."""
    code, title = _ERRORS[error.status]
    body: dict[str, object]
    if admin:
        body = {"type": "about:blank", "title": title, "status": error.status, "detail": error.detail}
    else:
        body = {"error": code, "error_description": error.detail}
    response = web.Response(
        status=error.status,
        body=json.dumps(body | {"request_id": request_id}).encode(),
        headers={**error.headers, "x-request-id": request_id, "request-id": request_id, "cache-control": "no-store"},
        content_type="application/problem+json" if admin else "application/json",
    )
    if error.status in {400, 408, 413, 431}:
        response.force_close()
    return response
