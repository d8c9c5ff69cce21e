"""Door: the broker's HTTP routes, as two deployments of one app: `public` and `admin`."""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from chalice.app import Chalice, IAMAuthorizer, MultiDict, Request, Response

from chalicelib.aws import wiring as broker_on_aws
from chalicelib.errors import Refusal, cause
from chalicelib.http import public as public_api
from chalicelib.http.messages import Answer, Arrival, Ports, View, refused

LOG = logging.getLogger("keybroker")
LOG.setLevel(logging.INFO)

_FORM_OR_JSON = ["application/x-www-form-urlencoded", "application/json"]
_JSON = ["application/json"]


def make_app(ports: Callable[[], Ports], door: str) -> Chalice:
    """Wire one deployment. ports: called at the first request that needs them. door: `public` or `admin`."""
    # Chalice would set this logger to ERROR, which drops refusals, and have it write to stdout, which is for data.
    app = Chalice(app_name="keybroker", configure_logs=False)
    {"public": _public_routes, "admin": _admin_routes}[door](_Routes(app, functools.cache(ports), door))

    @app.middleware("http")
    def finish(event: Request, get_response: Callable[[Request], Response]) -> Response:
        response = get_response(event)
        if isinstance(response.body, dict) and "Code" in response.body:  # Chalice's own 405, 415 and 500
            refusal = Refusal("unsupported", "invalid_request", response.status_code, response.body["Message"])
            allow = {name: value for name, value in response.headers.items() if name == "Allow"}
            response = _refused(app, door, refusal)
            response.headers.update(allow)
        response.headers["x-request-id"] = _request_id(app)
        response.headers.setdefault("cache-control", "no-store")
        return response

    return app


@dataclass(frozen=True, slots=True)
class _Routes:
    """Registers the routes of one door."""

    app: Chalice
    ports: Callable[[], Ports]
    door: str

    def add(self, method: str, path: str, view: View, *, types: list[str] = _JSON, iam: bool = False) -> None:
        """Register a route. A refusal becomes an answer and a log line; anything else that is raised is our fault."""

        def answered(**names: str) -> Response:
            try:
                decoded = {name: unquote(value) for name, value in names.items()}  # API Gateway leaves them encoded
                return _response(view(_arrival(self.app), self.ports(), **decoded))
            except Refusal as refusal:
                return _refused(self.app, self.door, refusal)
            except Exception as fault:  # noqa: BLE001  the last line of defence; the fault's text may hold a token
                kind = f"fault_{type(fault).__name__}"
                return _refused(
                    self.app, self.door, Refusal(kind, "server_error", 500, "something went wrong on our side")
                )

        options = {"authorizer": IAMAuthorizer()} if iam else {}
        self.app.route(path, methods=[method], content_types=types, name=f"{method} {path}", **options)(answered)


def _public_routes(routes: _Routes) -> None:
    routes.add("POST", "/token", public_api.token, types=_FORM_OR_JSON)
    routes.add("POST", "/token/iam", public_api.token_iam, types=_FORM_OR_JSON, iam=True)
    routes.add("POST", "/anthropic/v1/oauth/token", public_api.token_for_anthropic, types=_FORM_OR_JSON)
    routes.add("POST", "/revoke", public_api.revoke, types=_FORM_OR_JSON)
    routes.add("GET", "/.well-known/jwks.json", public_api.jwks)
    routes.add("GET", "/.well-known/oauth-authorization-server", public_api.metadata)
    routes.add("GET", "/.well-known/openid-configuration", public_api.metadata)
    routes.add("GET", "/audience", public_api.audience)
    routes.add("GET", "/healthz", public_api.healthz)


def _admin_routes(routes: _Routes) -> None:
    # Imported here: the public door's cold start does without the policy's reader.
    from chalicelib.admin import audit, keys, policy, principals, revocations, usage  # noqa: PLC0415
    from chalicelib.openapi import view as openapi  # noqa: PLC0415

    # SECURITY: every route of this door has the IAM authorizer (test_app.py).
    add = functools.partial(routes.add, iam=True)
    add("GET", "/admin/revocations", revocations.revocations)
    add("POST", "/admin/revocations", revocations.revoke)
    add("DELETE", "/admin/revocations/{revocation_id}", revocations.restore)
    add("GET", "/admin/principals", principals.principals)
    add("GET", "/admin/principals/{principal_id}", principals.principal)
    add("POST", "/admin/principals/{principal_id}/pin", principals.pin)
    add("GET", "/admin/usage", usage.usage)
    add("GET", "/admin/audit", audit.audit)
    add("GET", "/admin/audit/check", audit.check)
    add("GET", "/admin/keys", keys.keys)
    add("PUT", "/admin/keys/{name}", keys.set_key)
    add("GET", "/admin/policy", policy.policy)
    add("PUT", "/admin/policy", policy.apply_policy)
    add("POST", "/admin/policy/validate", policy.validate)
    add("POST", "/admin/policy/plan", policy.plan)
    add("POST", "/admin/policy/explain", policy.explain)
    add("POST", "/admin/policy/replay", policy.replay)
    add("GET", "/admin/openapi.json", openapi.document)


def _arrival(app: Chalice) -> Arrival:
    request = _request(app)
    raw, query = request.raw_body, request.query_params or MultiDict(None)
    return Arrival(
        request_id=_request_id(app),
        headers={name.lower(): value for name, value in request.headers.items()},
        query=dict(query),
        body=raw if isinstance(raw, bytes) else str(raw).encode(),
        identity=request.context.get("identity") or {},
        repeated=frozenset(name for name in query if len(query.getlist(name)) > 1),
    )


def _response(answer: Answer) -> Response:
    return Response(answer.body if answer.text is None else answer.text, dict(answer.headers), answer.status)


def _refused(app: Chalice, door: str, refusal: Refusal) -> Response:
    request_id = _request_id(app)
    # SECURITY: fixed words, and who was refused once that is verified; nothing else of what was sent (test_canary.py).
    line = {"door": door, "reason": refusal.reason, "status": refusal.status, "request_id": request_id}
    LOG.info(json.dumps({**line, **refusal.about, **cause(refusal)}))
    return _response(refused(refusal, door, request_id))


def _request(app: Chalice) -> Request:
    request = app.current_request
    if request is None:
        raise RuntimeError("no request is being answered")
    return request


def _request_id(app: Chalice) -> str:
    return str(_request(app).context["requestId"])


app = make_app(broker_on_aws.ports_on_aws, os.environ.get("KEYBROKER_DOOR", "public"))
"""What Lambda runs. Its ports are made at the first request."""
