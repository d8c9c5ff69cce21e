"""Door: the broker's HTTP routes, as two deployments of one app: `public` and `admin`."""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from chalice.app import Chalice, IAMAuthorizer, MultiDict
from chalice.app import Request as ChaliceRequest
from chalice.app import Response as ChaliceResponse

from chalicelib.aws import wiring
from chalicelib.errors import InternalFault, Refusal, Unavailable
from chalicelib.http import public_routes
from chalicelib.http.errors import Unsupported
from chalicelib.http.messages import Request, Response, refused
from chalicelib.http.ports import PublicPorts
from chalicelib.http.route import Ports, Route

if TYPE_CHECKING:  # the public door starts without the administrators' modules
    from chalicelib.admin.ports import AdminPorts

LOG = logging.getLogger("keybroker")
LOG.setLevel(logging.INFO)


Seen = Callable[[str, int, str], None]
"""Is told of an answer: the path of its route as the route has it, the HTTP status, and the reason of a refusal or ""."""


def _not_seen(_path: str, _status: int, _reason: str) -> None:
    pass


def public_app(ports: Callable[[], PublicPorts] = wiring.public_ports, seen: Seen = _not_seen) -> Chalice:
    """Return the public door. ports: called at the first request that needs them; by default, those over AWS."""
    return _make_app("public", public_routes.ROUTES, ports, seen)


def admin_app(ports: Callable[[], AdminPorts] = wiring.admin_ports, seen: Seen = _not_seen) -> Chalice:
    """Return the administrators' door. ports: called at the first request that needs them; by default, those over AWS."""
    # Imported here: the public door's cold start does without the policy's reader.
    from chalicelib.openapi.routes import ADMIN  # noqa: PLC0415

    cached = functools.cache(ports)  # for requests and the schedule; a fault is not cached
    return _make_app("admin", ADMIN, cached, seen, _AdminApp(cached))


class _AdminApp(Chalice):
    """The administrators' door, which a schedule calls as well."""

    def __init__(self, ports: Callable[[], AdminPorts]) -> None:
        super().__init__(app_name="keybroker", configure_logs=False)
        self._ports = ports

    def __call__(self, event: Any, context: Any) -> Any:  # noqa: ANN401  as Chalice has it
        from chalicelib.admin import rotation_schedule  # noqa: PLC0415  as above

        # SECURITY: no request is this event, since API Gateway wraps each in one of its own (test_no_request_is_the_schedule_s).
        if event != rotation_schedule.EVENT:
            return super().__call__(event, context)
        outcomes = rotation_schedule.retire_due(self._ports())
        for key, outcome in outcomes.items():
            LOG.info(json.dumps({"door": "admin", "reason": f"rotation_{outcome}", "key": key}))
        return outcomes


def _make_app(
    door: str, routes: Iterable[Route[Ports]], ports: Callable[[], Ports], seen: Seen, app: Chalice | None = None
) -> Chalice:
    # Chalice would set this logger to ERROR, which drops refusals, and have it write to stdout, which is for data.
    app = app or Chalice(app_name="keybroker", configure_logs=False)
    cached = functools.cache(ports)  # a fault is not cached: the next request tries again
    for route in routes:
        options = {"authorizer": IAMAuthorizer()} if route.signed else {}
        register = app.route(
            route.path,
            methods=[route.method],
            content_types=list(route.content_types),
            name=f"{route.method} {route.path}",
            **options,
        )
        register(_handler(app, door, route, cached, seen))

    @app.middleware("http")
    def finish(event: ChaliceRequest, get_response: Callable[[ChaliceRequest], ChaliceResponse]) -> ChaliceResponse:
        response = get_response(event)
        if isinstance(response.body, dict) and "Code" in response.body:  # Chalice's own 405, 415 and 500
            refusal = Unsupported(response.status_code, response.body["Message"])
            allow = {name: value for name, value in response.headers.items() if name == "Allow"}
            response = _refused(app, door, refusal)
            response.headers.update(allow)
        response.headers["x-request-id"] = _request_id(app)
        response.headers.setdefault("cache-control", "no-store")
        return response

    return app


def _handler(
    app: Chalice, door: str, route: Route[Ports], ports: Callable[[], Ports], seen: Seen
) -> Callable[..., ChaliceResponse]:
    """Return what Chalice calls for a route: its view, whose refusals become responses and log lines."""

    def answered(**names: str) -> ChaliceResponse:
        try:
            decoded = {name: unquote(value) for name, value in names.items()}  # API Gateway leaves them encoded
            response = _to_chalice(route.view(_request(app), ports(), **decoded))
            reason = ""
        except Refusal as refusal:
            response, reason = _refused(app, door, refusal), refusal.reason
        except Exception as fault:  # noqa: BLE001  the last line of defence; the fault's text may hold a token
            response, reason = _refused(app, door, InternalFault(fault)), InternalFault(fault).reason
        seen(route.path, response.status_code, reason)
        return response

    return answered


def _request(app: Chalice) -> Request:
    request = _current(app)
    raw, query = request.raw_body, request.query_params or MultiDict(None)
    return Request(
        request_id=_request_id(app),
        headers={name.lower(): value for name, value in request.headers.items()},
        query=dict(query),
        body=raw if isinstance(raw, bytes) else str(raw).encode(),
        identity=request.context.get("identity") or {},
        repeated=frozenset(name for name in query if len(query.getlist(name)) > 1),
    )


def _to_chalice(response: Response) -> ChaliceResponse:
    body = response.body if response.text is None else response.text
    return ChaliceResponse(body, dict(response.headers), response.status)


def _refused(app: Chalice, door: str, refusal: Refusal) -> ChaliceResponse:
    request_id = _request_id(app)
    # SECURITY: fixed words, and who was refused once that is verified; nothing else of what was sent (test_canary.py).
    line = {"door": door, "reason": refusal.reason, "status": refusal.status, "request_id": request_id}
    # On one machine the operator has to know what failed: a full disk, say.
    why = {"cause": refusal.hint} if isinstance(refusal, Unavailable) and refusal.hint else {}
    LOG.info(json.dumps({**line, **why, **refusal.log_fields()}))
    return _to_chalice(refused(refusal, door, request_id))


def _current(app: Chalice) -> ChaliceRequest:
    request = app.current_request
    if request is None:
        raise RuntimeError("no request is being answered")
    return request


def _request_id(app: Chalice) -> str:
    return str(_current(app).context["requestId"])


_DOORS: Mapping[str, Callable[[], Chalice]] = {"public": public_app, "admin": admin_app}
app = _DOORS[os.environ.get("KEYBROKER_DOOR", "public")]()
"""What Lambda runs. Its ports are made at the first request."""
