from __future__ import annotations

import functools
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NoReturn
from urllib.parse import quote, urlencode
from uuid import UUID

import pytest
from chalice.app import IAMAuthorizer

import app
from chalicelib.aws import wiring
from chalicelib.errors import NotConfigured, StateUnavailable
from chalicelib.exchange.request import BODY_LIMIT, JWT_BEARER
from chalicelib.http import public_routes
from chalicelib.http.ports import PublicPorts
from chalicelib.openapi.routes import ADMIN
from tests.chalicelib.rotation.account import Account, Everybodys
from tests.http_door import ADA, JSON, Door, admin_door, public_door
from tests.parts import CI, GRANTS, ISSUERS, SUB, Parts, grant, mint
from tests.running import JWT, ROOT, TOKEN_EXCHANGE, Answer, Running, call

FORM = "application/x-www-form-urlencoded"
REVOCATIONS, AUDIT = "/admin/revocations", "/admin/audit"


@pytest.fixture
def public(parts: Parts) -> Door:
    return public_door(parts)


@pytest.fixture
def admin(parts: Parts) -> Door:
    return admin_door(parts, accounts=Everybodys(Account()))


def wanted(subject: str, **more: str) -> dict[str, str]:
    fields = {"grant_type": TOKEN_EXCHANGE, "subject_token": subject, "subject_token_type": JWT, "audience": "openai"}
    return {**fields, **more}


def revocation(**changes: object) -> dict[str, object]:
    return {"scope": "principal", "id": SUB, "reason": "left the company", "unseen": True, **changes}


# the two doors


def routes(door: Door) -> set[tuple[str, str]]:
    return {(method, path) for path, methods in door.app.routes.items() for method in methods}


def test_registered_routes(public: Door, admin: Door) -> None:
    """A door has the routes of its table and no other; docs/openapi.json, which is committed, lists them."""
    assert routes(public) == {(one.method, one.path) for one in public_routes.ROUTES}
    assert routes(admin) == {(one.method, one.path) for one in ADMIN}


def test_doors_share_no_path(public: Door, admin: Door) -> None:
    """Every path of the administrators' door is under /admin/, and none of the public door's is."""
    assert {path.startswith("/admin/") for _, path in routes(admin)} == {True}
    assert {path.startswith("/admin") for _, path in routes(public)} == {False}


def guarded(door: Door) -> set[tuple[str, str]]:
    """Return the routes that API Gateway's IAM authorizer is in front of."""
    return {
        (method, path)
        for method, path in routes(door)
        if isinstance(door.app.routes[path][method].authorizer, IAMAuthorizer)
    }


def test_admin_routes_are_signed(admin: Door) -> None:
    """Every route of the administrators' door has API Gateway's IAM authorizer."""
    assert guarded(admin) == routes(admin)


def test_public_routes_signed(public: Door) -> None:
    """Of the public door's routes, only the one for IAM callers has the IAM authorizer."""
    assert guarded(public) == {("POST", "/token/iam")}


ADMINISTRATORS = re.compile(
    r"(admin|openapi)(\..*)?|policy\.(?!grants$|accepted_values$|errors$|stored$).*|providers\.(versions|origins)|msgspec|yaml"
)
"""Modules that administrators alone need."""


def test_public_cold_start() -> None:
    """The public door starts without importing anything that only administrators need."""
    modules = [
        str(path.relative_to(ROOT / "chalicelib"))[:-3].replace("/", ".")
        for path in (ROOT / "chalicelib").rglob("*.py")
    ]
    assert len([name for name in modules if ADMINISTRATORS.fullmatch(name)]) > 20
    program = "import sys, app; print(*(name.removeprefix('chalicelib.') for name in sys.modules))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True, timeout=30, check=True)
    loaded = done.stdout.split()
    assert "http.public" in loaded
    assert [name for name in loaded if ADMINISTRATORS.fullmatch(name)] == []


def test_there_is_no_third_door() -> None:
    """A function that is told another door than these two does not start."""
    command = [sys.executable, "-c", "import app"]
    environ = {"KEYBROKER_DOOR": "both"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr.splitlines()[-1] == "KeyError: 'both'"


def test_lambda_unconfigured(public: Door) -> None:
    """What Lambda runs by default is the public door; without a configuration it answers 503."""
    door = Door(app.public_app(functools.partial(wiring.public_ports, {})))
    assert app.app.routes.keys() == public.app.routes.keys()
    answer = door.ask("GET", "/healthz")
    assert (answer.status, answer.json["error"]) == (503, "temporarily_unavailable")
    assert ("retry-after" in answer.headers, answer.headers["x-should-retry"]) == (False, "false")


# the token endpoint, over HTTP


def test_token_request_forms(running: Running) -> None:
    """A form, JSON and a JWT bearer grant each get a token that works at the edge."""
    form = urlencode(wanted(running.mint("7101"))).encode()
    bearer = {"grant_type": JWT_BEARER, "assertion": running.mint("7101"), "audience": "openai", "grant": "ci"}
    for body, content_type in ((wanted(running.mint("7101")), JSON), (form, FORM), (bearer, JSON)):
        answer = call("POST", f"{running.broker}/token", body, {"content-type": content_type})
        assert answer.status == 200, answer
        assert running.complete(answer.json["access_token"]).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/nothing", 404),
        ("GET", "/token", 405),
        ("DELETE", "/admin/audit", 405),
        ("GET", "/admin/nothing", 404),
    ],
)
def test_unknown_route(running: Running, method: str, path: str, status: int) -> None:
    """An unknown path is a 404 and an unknown method a 405, each with its request id."""
    answer = call(method, running.broker + path)
    assert (answer.status, answer.json["request_id"]) == (status, answer.headers["x-request-id"])


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x", "application/jwt"])
def test_other_content_types(running: Running, content_type: str) -> None:
    """Any content type other than a form or JSON is a 415."""
    answer = call("POST", f"{running.broker}/token", b"x", {"content-type": content_type})
    assert (answer.status, answer.json["error"]) == (415, "invalid_request")
    assert answer.json["request_id"] == answer.headers["x-request-id"]


def test_token_body_limit(running: Running) -> None:
    """A body over 64 KiB is a 413."""
    answer = call("POST", f"{running.broker}/token", b"x" * (BODY_LIMIT + 1), {"content-type": FORM})
    assert (answer.status, answer.json["error"]) == (413, "invalid_request")


def test_every_response_is_traceable(running: Running) -> None:
    """Every response has a request id of its own and says that it must not be stored."""
    answers = [
        running.exchange(running.mint("7102")),
        running.exchange("made-up"),
        running.exchange(running.mint("7102"), audience="nothing"),
        call("POST", f"{running.broker}/token", b"{"),
        call("POST", f"{running.broker}/token", b"x", {"content-type": "text/plain"}),
        call("GET", f"{running.broker}/healthz"),
        running.administer("GET", AUDIT + "?limit=1"),
        running.administer("POST", REVOCATIONS, {}),
    ]
    assert [one.status for one in answers] == [200, 400, 400, 400, 415, 200, 200, 400]
    assert {one.headers["cache-control"] for one in answers} == {"no-store"}
    assert {one.headers["Content-Type"].removesuffix("; charset=utf-8") for one in answers[:-1]} == {JSON}
    assert len({one.headers["x-request-id"] for one in answers}) == len(answers)


def test_public_refusal_is_logged(running: Running) -> None:
    """A refusal before verification is in the log under the response's request id."""
    refused = running.exchange("made-up")
    log = [json.loads(line) for line in running.log.read_text().splitlines() if line.startswith("{")]
    (line,) = [one for one in log if one.get("request_id") == refused.headers["x-request-id"]]
    assert (line["door"], line["reason"], line["status"]) == ("public", "not_three_segments", 400)


def test_edge_refusal_is_logged(running: Running) -> None:
    """A refusal at the edge is in the log under the response's request id."""
    refused = running.complete("made-up")
    log = [json.loads(line) for line in running.log.read_text().splitlines() if line.startswith("{")]
    (line,) = [one for one in log if one.get("request_id") == refused.headers["x-request-id"]]
    assert (line["door"], line["reason"], line["status"]) == ("edge", "not_three_segments", 401)


# administration


def test_unsigned_is_403(running: Running) -> None:
    """An unsigned request is a 403 at every signed route."""
    for (method, resource), (_, parameters) in ASKED.items():
        path = resource.format(**{name: quote(value, safe="") for name, value in parameters.items()})
        answer = call(method, running.broker + path, b"{}" if method in ("POST", "PUT") else None)
        assert (answer.status, answer.headers["Content-Type"]) == (403, "application/problem+json"), resource
    assert call("POST", f"{running.broker}/token/iam", {"audience": "openai"}).status == 403


FEDERATED = f"{{rule: fdrl_1, organization: {UUID(int=0)}, service_account: svac_1}}"
ROLE = "arn:aws:iam::123456789012:role/app"
ASKED: Mapping[tuple[str, str], tuple[object, dict[str, str]]] = {
    ("GET", REVOCATIONS): (None, {}),
    ("POST", REVOCATIONS): (revocation(), {}),
    ("DELETE", f"{REVOCATIONS}/{{revocation_id}}"): (None, {"revocation_id": "x"}),
    ("GET", "/admin/principals"): (None, {}),
    ("GET", "/admin/principals/{principal_id}"): (None, {"principal_id": SUB}),
    ("POST", "/admin/principals/{principal_id}/pin"): ({"unique_id": "AROAEXAMPLE123456789"}, {"principal_id": ROLE}),
    ("GET", "/admin/usage"): (None, {}),
    ("GET", AUDIT): (None, {}),
    ("GET", "/admin/audit/check"): (None, {}),
    ("GET", "/admin/audit/chain"): (None, {}),
    ("GET", "/admin/audit/head"): (None, {}),
    ("GET", "/admin/keys"): (None, {}),
    ("PUT", "/admin/keys/{name}"): ({"value": "sk-new"}, {"name": "openai"}),
    ("PUT", "/admin/keys/{name}/management"): (
        {"value": "sk-admin", "settings": {"project": "p", "service_account": "s"}},
        {"name": "openai"},
    ),
    ("POST", "/admin/keys/{name}/rotation"): ({}, {"name": "openai"}),
    ("GET", "/admin/keys/{name}/provider-keys"): (None, {"name": "openai"}),
    ("POST", "/admin/keys/{name}/rollback"): (None, {"name": "openai"}),
    ("DELETE", "/admin/keys/{name}/rotation"): (None, {"name": "openai"}),
    ("GET", "/admin/federation"): (None, {}),
    ("POST", "/admin/keys/{name}/mint"): (None, {"name": "anthropic"}),
    ("GET", "/admin/now"): (None, {}),
    ("GET", "/admin/probes"): (None, {}),
    ("GET", "/admin/refusals"): (None, {}),
    ("GET", "/admin/signing"): (None, {}),
    ("POST", "/admin/signing"): ({"action": "prepare"}, {}),
    ("GET", "/admin/policy"): (None, {}),
    ("GET", "/admin/policy/history"): (None, {}),
    ("GET", "/admin/policy/grants"): (None, {}),
    ("PUT", "/admin/policy"): ({"text": grant(ttl="10m")}, {}),
    ("POST", "/admin/policy/validate"): ({"text": grant()}, {}),
    ("POST", "/admin/policy/plan"): ({"text": grant()}, {}),
    ("POST", "/admin/policy/explain"): ({"claims": {"iss": CI}}, {}),
    ("POST", "/admin/policy/replay"): ({"text": grant()}, {}),
    ("GET", "/admin/openapi.json"): (None, {}),
}
"""What each administrators' route would do: its body, and the names in its path."""


@pytest.mark.parametrize("identity", [None, {}, {"userArn": None}, {"userArn": ""}, {"user": "ada", "sourceIp": "::1"}])
def test_admin_needs_identity(parts: Parts, admin: Door, identity: dict[str, str] | None) -> None:
    """Without an identity from API Gateway every administrators' route is a 403 that changes nothing."""
    before, version = len(parts.events()), parts.control.current().version
    claimed = {"x-amzn-user-arn": ADA, "authorization": "AWS4-HMAC-SHA256 Credential=x", "if-match": f'"{version}"'}
    assert ASKED.keys() == routes(admin)
    for (method, resource), (body, parameters) in ASKED.items():
        for sent in (body, "{"):  # a stranger does not even hear what is wrong with a body
            answer = admin.ask(method, resource, sent, parameters=parameters, identity=identity, headers=claimed)
            assert (answer.status, answer.json["title"]) == (403, "forbidden"), resource
            assert answer.json.keys() == {"type", "title", "status", "detail", "request_id"}
    assert (len(parts.events()), parts.control.current().version) == (before, version)


def test_admin_with_identity(parts: Parts, admin: Door) -> None:
    """With an identity, the same requests succeed."""
    parts.apply((ISSUERS + GRANTS).replace("{provider: anthropic}", f"{{provider: anthropic, federated: {FEDERATED}}}"))
    if_match = {"if-match": f'"{parts.control.current().version}"'}
    queries: dict[str, dict[str, str | list[str]]] = {
        "/admin/refusals": {"request_id": "5f2a"},
        "/admin/federation": {"provider": "anthropic", "key": "claude"},
    }
    for (method, resource), (body, parameters) in ASKED.items():
        query = queries.get(resource)
        answer = admin.administer(method, resource, body, parameters=parameters, headers=if_match, query=query)
        made = (method, resource) == ("POST", REVOCATIONS)
        gone = 409 if resource.endswith("/rotation") else 404
        assert answer.status == (gone if method == "DELETE" else 201 if made else 200), answer


def test_unknown_query_parameter(parts: Parts, admin: Door) -> None:
    """An unknown, repeated or malformed query parameter is a 400 at every administrators' route, and changes nothing."""
    if_match = {"if-match": f'"{parts.control.current().version}"'}
    before, version = len(parts.events()), parts.control.current().version
    queries: list[dict[str, str | list[str]]] = [{"dryrun": "true"}, {"dry_run": ["false", "true"]}, {"": "x"}]
    for (method, resource), (body, parameters) in ASKED.items():
        for query in (*queries, {"dry_run": "yes"}):
            answer = admin.administer(method, resource, body, parameters=parameters, headers=if_match, query=query)
            assert (answer.status, answer.json["title"]) == (400, "invalid_request"), (resource, query)
            named = ("unknown or repeated query parameters: this route takes ", "dry_run must be one of true, false")
            assert answer.json["detail"].startswith(named)
    assert (len(parts.events()), parts.control.current().version) == (before, version)


# faults of ours


def _raise(*_: object) -> NoReturn:
    raise RuntimeError("secret text")


@pytest.mark.parametrize("door", ["public", "admin"])
def test_internal_fault(parts: Parts, caplog: pytest.LogCaptureFixture, door: str) -> None:
    """An internal fault is a 500 and one log line, both without the exception's text."""
    caplog.set_level(logging.DEBUG)
    if door == "public":
        faulty = Door(app.public_app(lambda: replace(parts.public_ports(), clock=_raise)))
        answer = faulty.ask("POST", "/token", wanted(mint()))
    else:
        answer = admin_door(parts, clock=_raise).administer("POST", REVOCATIONS, revocation())
    assert (answer.status, answer.json["request_id"], answer.headers["x-request-id"]) == (500, "request-1", "request-1")
    assert "secret text" not in caplog.text + answer.body.decode()
    (line,) = [one.getMessage() for one in caplog.records if one.name == "keybroker"]
    assert json.loads(line) == {"door": door, "reason": "fault_RuntimeError", "status": 500, "request_id": "request-1"}
    assert all(one.exc_info is None for one in caplog.records)


def test_ports_are_retried(parts: Parts) -> None:
    """Ports that could not be made are made at the next request."""
    tries = [NotConfigured(), None]

    def ports() -> PublicPorts:
        fault = tries.pop(0)
        if fault:
            raise fault
        return parts.public_ports()

    door = Door(app.public_app(ports))
    assert [door.ask("GET", "/healthz").status for _ in range(3)] == [503, 200, 200]
    assert tries == []


@pytest.mark.parametrize(
    ("ask", "reason", "status"),
    [
        (lambda door: door.ask("POST", "/token", "{"), "malformed_request", 400),
        (lambda door: door.ask("POST", "/token", wanted(mint(aud="x"))), "aud_wrong", 400),
        (lambda door: door.ask("POST", "/token", wanted(mint(ref="x"))), "no_grant", 400),
        (lambda door: door.ask("POST", "/token", "x", headers={"content-type": "text/plain"}), "unsupported", 415),
        (lambda door: door.ask("GET", "/token"), "unsupported", 405),
    ],
)
def test_refusal_log_line(
    public: Door, caplog: pytest.LogCaptureFixture, ask: Callable[[Door], Answer], reason: str, status: int
) -> None:
    """Each refusal is one log line with its reason."""
    caplog.set_level(logging.INFO, logger="keybroker")
    assert ask(public).status == status
    (line,) = [one.getMessage() for one in caplog.records if one.name == "keybroker"]
    assert json.loads(line) == {"door": "public", "reason": reason, "status": status, "request_id": "request-1"}


def test_the_log_says_what_failed(caplog: pytest.LogCaptureFixture) -> None:
    """Of a state out of reach the log says why, such as a full disk; the caller is told nothing of it."""
    caplog.set_level(logging.INFO, logger="keybroker")

    def fails() -> PublicPorts:
        raise StateUnavailable(hint="database or disk is full")

    answer = Door(app.public_app(fails)).ask("GET", "/healthz")
    assert answer.status == 503
    assert "disk" not in json.dumps(answer.json)
    (line,) = [one.getMessage() for one in caplog.records if one.name == "keybroker"]
    assert json.loads(line)["cause"] == "database or disk is full"


def test_success_is_not_logged(public: Door, caplog: pytest.LogCaptureFixture) -> None:
    """A success writes no log line."""
    caplog.set_level(logging.INFO, logger="keybroker")
    assert public.ask("POST", "/token", wanted(mint(iss=CI))).status == 200
    assert [one for one in caplog.records if one.name == "keybroker"] == []
