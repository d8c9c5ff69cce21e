"""The OpenAPI 3.1 document, made from the tables of routes and of schemas."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.http.route import JSON, TEXT, Parameter, Route
from chalicelib.openapi import admin_schemas, public_schemas
from chalicelib.openapi.shapes import ref

_PROBLEM = "application/problem+json"
_LINES = "application/jsonl"
_COMMON = {True: (400, 403, 413, 415, 431, 500, 503), False: (400, 413, 415, 431, 500, 503)}
"""Statuses of refusals that every route can answer, at the administrators' door (True) and at the public one."""
_WHAT = {
    400: "the request is malformed",
    401: "there is no token, or it is no longer valid: get a fresh one",
    403: "the request is not signed, or the signer may not do this, or what the token opens is revoked",
    404: "it does not exist",
    409: "another administrator has set it meanwhile",
    412: "another version is in force by now",
    413: "the body is too large",
    415: "the content type is not accepted",
    422: "the request is well formed but cannot be carried out; `errors` lists a policy's faults",
    428: "If-Match is missing",
    429: "a quota is used up; see Retry-After",
    431: "path, query and headers together are over 10,240 bytes",
    500: "internal error; find it in the log by its request id",
    503: "temporarily unavailable: nothing was changed, unless the text says that it may be; look, or try again",
}


Routes = Sequence[Route[Any]]
"""Routes of any door: their views are not called here."""


def document(routes: Routes) -> dict[str, Any]:
    """Return the document that describes these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Keybroker",
            "version": "0.1.0",
            "description": "The token endpoint and the administration API, which are deployed separately.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "{broker}", "variables": {"broker": {"default": "http://127.0.0.1:8080"}}}],
        "tags": [{"name": "administration"}, {"name": "tokens"}],
        "paths": paths,
        "components": {
            "schemas": {**admin_schemas.SCHEMAS, **public_schemas.SCHEMAS},
            "responses": _refusals(routes),
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "AWS Signature Version 4, service execute-api",
                    "x-amazon-apigateway-authtype": "awsSigv4",
                },
                "token": {"type": "http", "scheme": "bearer", "description": "an access token of the broker"},
            },
        },
    }


def text(routes: Routes) -> str:
    """Return the document as docs/openapi.json holds it."""
    return json.dumps(document(routes), indent=2) + "\n"


def _operation(route: Route[Any]) -> dict[str, Any]:
    refusals = sorted({*_COMMON[route.admin], *route.refusals})
    found: dict[str, Any] = {
        "operationId": _name(route),
        "summary": route.summary,
        "tags": ["administration" if route.admin else "tokens"],
        "security": [{"sigv4": []}] if route.signed else [{"token": []}] if route.bearer else [],
        "parameters": [_parameter(one) for one in route.parameters],
        "responses": {
            **{str(status): _response(route, schema) for status, schema in sorted(route.responses.items())},
            **{str(one): {"$ref": f"#/components/responses/{_named(one, admin=route.admin)}"} for one in refusals},
        },
    }
    if route.body:
        content = {kind: {"schema": ref(route.body)} for kind in route.content_types}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _name(route: Route[Any]) -> str:
    words = (word for word in route.path.replace("{", "").replace("}", "").replace(".", "-").split("/") if word)
    return "-".join((route.method.lower(), *words)).replace("--", "-")


def _parameter(one: Parameter) -> Mapping[str, Any]:
    return {
        "name": one.name,
        "in": one.location,
        "required": one.required,
        "description": one.description,
        "schema": dict(one.schema),
    }


def _response(route: Route[Any], schema: str) -> Mapping[str, Any]:
    content: dict[str, Any] = {JSON: {"schema": ref(schema)}}
    headers = {"x-request-id": {"schema": TEXT}}
    if route.json_lines:
        content[_LINES] = {"schema": {**TEXT, "description": "one Event per line"}}
        headers["link"] = {"schema": {**TEXT, "description": 'rel="next": the next page, if the response is in lines'}}
    if route.etag:
        headers["etag"] = {"schema": {**TEXT, "description": "the policy's version, in quotes"}}
    described = "what would happen; nothing was changed" if schema == "Impact" else "done"
    return {"description": described, "headers": headers, "content": content}


def _refusals(routes: Routes) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for admin in (True, False):
        own = {status for route in routes if route.admin == admin for status in route.refusals}
        for status in sorted({*_COMMON[admin], *own}):
            found[_named(status, admin=admin)] = _refusal(status, admin=admin)
    return found


def _refusal(status: int, *, admin: bool) -> Mapping[str, Any]:
    kind, schema = (_PROBLEM, "Problem") if admin else (JSON, "OAuthError")
    headers = {"x-request-id": {"schema": TEXT}}
    if status in (429, 503):
        headers["retry-after"] = {"schema": {**TEXT, "pattern": "^[0-9]+$", "description": "seconds"}}
    if status == 503:
        headers["x-should-retry"] = {"schema": {"const": "false", "description": "an operator has to act first"}}
    content = {kind: {"schema": ref(schema)}}
    if status == 431:  # past 16 KiB it is answered before the path, and so the door, is known
        content[JSON] = {"schema": ref("OAuthError")}
    return {"description": _WHAT[status], "headers": headers, "content": content}


def _named(status: int, *, admin: bool) -> str:
    return f"{'Problem' if admin else 'OAuthError'}{status}"
