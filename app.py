"""Door: the broker's HTTP routes, as two deployments of one app: `public` and `admin`."""

from __future__ import annotations

import functools
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chalice.app import Chalice, IAMAuthorizer, Request, Response

from chalicelib import config, exchange, revocation_request, token_request
from chalicelib.audit import FILTERS, PAGE_LIMIT, Audit, Event, Query
from chalicelib.errors import Refusal
from chalicelib.ledger import Wanted
from chalicelib.revocation import EVERYTHING, Revocation, Revocations
from chalicelib.tokens import IssuedToken

LOG = logging.getLogger("keybroker")
LOG.setLevel(logging.INFO)


@dataclass(frozen=True, slots=True)
class Ports:
    """What the routes need. jwks: the public signing keys. clock: epoch seconds."""

    broker: exchange.Broker
    revocations: Revocations
    audit: Audit
    jwks: Callable[[], Sequence[Mapping[str, str]]]
    clock: Callable[[], int] = lambda: int(time.time())
    new_id: Callable[[], str] = lambda: secrets.token_urlsafe(16)


def make_app(ports: Callable[[], Ports], door: str) -> Chalice:
    """Wire one deployment. ports: called at the first request that needs them. door: `public` or `admin`."""
    # Chalice would set this logger to ERROR, which drops refusals, and have it write to stdout, which is for data.
    app = Chalice(app_name="keybroker", configure_logs=False)
    once = functools.cache(ports)
    {"public": _public_routes, "admin": _admin_routes}[door](app, once)

    @app.middleware("http")
    def finish(event: Request, get_response: Callable[[Request], Response]) -> Response:
        response = get_response(event)
        if isinstance(response.body, dict) and "Code" in response.body:  # Chalice's own 405, 415 and 500
            refusal = Refusal("unsupported", "invalid_request", response.status_code, response.body["Message"])
            _log(app, door, refusal.reason, refusal.status)
            allow = {name: value for name, value in response.headers.items() if name == "Allow"}
            response = _error(app, door, refusal)
            response.headers.update(allow)
        response.headers["x-request-id"] = _request_id(app)
        response.headers.setdefault("cache-control", "no-store")
        return response

    return app


def _public_routes(app: Chalice, ports: Callable[[], Ports]) -> None:
    answer = functools.partial(_answering, app, "public")

    @app.route("/token", methods=["POST"], content_types=["application/x-www-form-urlencoded", "application/json"])
    @answer
    def token() -> Response:
        request, here = _request(app), ports()
        wanted = token_request.read(
            request.headers.get("content-type", ""),
            _body(app),
            request.headers.get("idempotency-key"),
            _request_id(app),
        )
        issued = exchange.exchange(wanted, here.broker, here.clock(), here.new_id)
        return Response(_issued(issued), headers={"cache-control": "no-store", "pragma": "no-cache"})

    @app.route("/.well-known/jwks.json", methods=["GET"])
    @answer
    def jwks() -> Response:
        return Response({"keys": list(ports().jwks())}, headers={"cache-control": "public, max-age=300"})

    @answer
    def metadata() -> Response:
        return Response(_metadata(ports().broker.url), headers={"cache-control": "public, max-age=300"})

    app.route("/.well-known/oauth-authorization-server", methods=["GET"], name="oauth")(metadata)
    app.route("/.well-known/openid-configuration", methods=["GET"], name="openid")(metadata)

    @app.route("/healthz", methods=["GET"])
    @answer
    def healthz() -> Response:
        ports().broker.ledger.find(Wanted((EVERYTHING,), "", "", None))
        return Response({"status": "ok"})


def _admin_routes(app: Chalice, ports: Callable[[], Ports]) -> None:
    answer = functools.partial(_answering, app, "admin")
    guarded = {"authorizer": IAMAuthorizer()}

    @app.route("/admin/revocations", methods=["POST"], content_types=["application/json"], **guarded)
    @answer
    def revoke() -> Response:
        here, author = ports(), _administrator(app)
        asked = revocation_request.read(_json(app), here.new_id(), author, here.clock())
        here.revocations.revoke(asked, _event(app, here, "revocation.made", asked))
        return Response(asked.to_json(), status_code=201)

    @app.route("/admin/revocations/{revocation_id}", methods=["DELETE"], **guarded)
    @answer
    def restore(revocation_id: str) -> Response:
        here, author = ports(), _administrator(app)
        event = _event(app, here, "revocation.lifted", None, revocation_id)
        lifted = here.revocations.lift(revocation_id, author, event)
        if lifted is None:
            raise Refusal("no_such_revocation", "not_found", 404, "there is no such revocation")
        return Response(lifted.to_json())

    @app.route("/admin/audit", methods=["GET"], **guarded)
    @answer
    def audit() -> Response:
        _administrator(app)
        query = _query(_request(app).query_params or {})
        try:
            page = ports().audit.page(query)
        except ValueError:
            raise _malformed("after must be the `next` of a page before") from None
        return Response({"items": [event.to_json() for event in page.events], "next": page.next or None})


def _answering(app: Chalice, door: str, view: Callable[..., Response]) -> Callable[..., Response]:
    """Turn refusals into answers, and log them. Anything else that is raised is our fault: 500, and only its kind."""

    @functools.wraps(view)
    def answered(**kwargs: str) -> Response:
        try:
            return view(**kwargs)
        except Refusal as refusal:
            _log(app, door, refusal.reason, refusal.status)
            return _error(app, door, refusal)
        except Exception as fault:  # noqa: BLE001  the last line of defence; the fault's text may hold a token
            _log(app, door, f"fault_{type(fault).__name__}", 500)
            return _error(app, door, Refusal("fault", "server_error", 500, "something went wrong on our side"))

    return answered


def _error(app: Chalice, door: str, refusal: Refusal) -> Response:
    """Answer a refusal: RFC 6749 section 5.2 at the public door, RFC 9457 at the administrators'."""
    headers: dict[str, str | list[str]] = {}
    if refusal.retry_after is not None:
        headers["retry-after"] = str(refusal.retry_after)
    body: dict[str, object] = {"request_id": _request_id(app)}
    if door == "admin":
        body |= {"type": "about:blank", "title": refusal.error, "status": refusal.status, "detail": refusal.description}
        return Response(body, {**headers, "content-type": "application/problem+json"}, refusal.status)
    body |= {"error": refusal.error} | ({"error_description": refusal.description} if refusal.description else {})
    return Response(body, headers, refusal.status)


def _log(app: Chalice, door: str, reason: str, status: int) -> None:
    # SECURITY: fixed words only; nothing of what the caller sent (test_canary.py).
    LOG.info(json.dumps({"door": door, "reason": reason, "status": status, "request_id": _request_id(app)}))


def _request(app: Chalice) -> Request:
    request = app.current_request
    if request is None:
        raise RuntimeError("no request is being answered")
    return request


def _request_id(app: Chalice) -> str:
    return str(_request(app).context["requestId"])


def _body(app: Chalice) -> bytes:
    raw = _request(app).raw_body
    return raw if isinstance(raw, bytes) else str(raw).encode()


def _json(app: Chalice) -> object:
    body = _body(app)
    if len(body) > token_request.BODY_LIMIT:
        raise Refusal("body_too_large", "invalid_request", 413, f"the body is over {token_request.BODY_LIMIT} bytes")
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=token_request.once)
    except (ValueError, RecursionError):
        raise _malformed("the body is no JSON") from None


def _malformed(text: str) -> Refusal:
    return Refusal("malformed_request", "invalid_request", 400, text)


def _administrator(app: Chalice) -> str:
    """Return the administrator's ARN, which only API Gateway's IAM authorizer sets."""
    # SECURITY: a route deployed without its authorizer has no identity, and fails closed (test_app.py).
    arn = (_request(app).context.get("identity") or {}).get("userArn")
    if not arn:
        raise Refusal("not_an_administrator", "forbidden", 403, "sign the request as an administrator")
    return str(arn)


def _event(app: Chalice, ports: Ports, kind: str, made: Revocation | None, revocation_id: str = "") -> Event:
    detail = {"revocation": made.id, "scope": made.scope, "target": made.target, "why": made.reason} if made else {}
    return Event(
        id=ports.new_id(),
        at=ports.clock(),
        kind=kind,
        request_id=_request_id(app),
        actor=_administrator(app),
        principal=made.target if made and made.scope == "principal" else "",
        detail=detail or {"revocation": revocation_id},
    )


def _query(parameters: Mapping[str, str]) -> Query:
    times = {name: parameters[name] for name in ("since", "until", "limit") if name in parameters}
    unknown = parameters.keys() - {*FILTERS, "since", "until", "limit", "after"}
    if unknown or not all(value.isascii() and value.isdecimal() and len(value) < 12 for value in times.values()):
        raise _malformed(f"filters: {', '.join(FILTERS)}, since, until; and limit, after")
    return Query(
        equals={name: parameters[name] for name in FILTERS if name in parameters},
        since=int(times.get("since", 0)),
        until=int(times.get("until", 2**53)),
        after=parameters.get("after", ""),
        limit=min(int(times.get("limit", 50)) or 1, PAGE_LIMIT),
    )


def _issued(issued: IssuedToken) -> dict[str, object]:
    """RFC 8693 section 2.2.1, and where to use it."""
    return {
        "access_token": issued.access_token,
        "issued_token_type": token_request.ISSUED_TOKEN_TYPE,
        "token_type": "Bearer",
        "expires_in": issued.expires_in,
        "scope": issued.scope,
        "base_url": issued.base_url,
    }


def _metadata(url: str) -> dict[str, object]:
    """RFC 8414."""
    return {
        "issuer": url,
        "token_endpoint": f"{url}/token",
        "jwks_uri": f"{url}/.well-known/jwks.json",
        "grant_types_supported": [token_request.TOKEN_EXCHANGE, token_request.JWT_BEARER],
        "token_endpoint_auth_methods_supported": ["none"],
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }


app = make_app(config.ports_on_aws, os.environ.get("KEYBROKER_DOOR", "public"))
"""What Lambda runs. Its ports are made at the first request."""
