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

import pytest
from chalice.app import IAMAuthorizer

import app
from chalicelib.audit import PAGE_LIMIT
from chalicelib.aws import wiring
from chalicelib.errors import NotConfigured, Refusal
from chalicelib.exchange.request import BODY_LIMIT, JWT_BEARER
from chalicelib.http import public_routes
from chalicelib.http.ports import PublicPorts
from chalicelib.openapi.routes import ADMIN
from tests.http_door import ADA, JSON, Door, admin_door, public_door
from tests.parts import BROKER, CI, EDGE, NOW, SUB, Parts, claims_of, grant, mint
from tests.running import JWT, ROOT, TOKEN_EXCHANGE, Answer, Running, call

FORM = "application/x-www-form-urlencoded"
REVOCATIONS, AUDIT, METADATA = "/admin/revocations", "/admin/audit", "/.well-known/oauth-authorization-server"


@pytest.fixture
def public(parts: Parts) -> Door:
    return public_door(parts)


@pytest.fixture
def admin(parts: Parts) -> Door:
    return admin_door(parts)


def wanted(subject: str, **more: str) -> dict[str, str]:
    fields = {"grant_type": TOKEN_EXCHANGE, "subject_token": subject, "subject_token_type": JWT, "audience": "openai"}
    return {**fields, **more}


def revocation(**changes: object) -> dict[str, object]:
    return {"scope": "principal", "id": SUB, "reason": "left the company", **changes}


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
    r"(admin|openapi)(\..*)?|policy\.(?!grants$|errors$|stored$).*|providers\.(versions|origins)|msgspec|yaml"
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
    assert (answer.status, answer.json["error"], answer.headers["retry-after"]) == (503, "temporarily_unavailable", "1")


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
    (line,) = [one for one in log if one["request_id"] == refused.headers["x-request-id"]]
    assert (line["door"], line["reason"], line["status"]) == ("public", "not_three_segments", 400)


def test_edge_refusal_is_logged(running: Running) -> None:
    """A refusal at the edge is in the log under the response's request id."""
    refused = running.complete("made-up")
    log = [json.loads(line) for line in running.log.read_text().splitlines() if line.startswith("{")]
    (line,) = [one for one in log if one["request_id"] == refused.headers["x-request-id"]]
    assert (line["door"], line["reason"], line["status"]) == ("edge", "not_three_segments", 401)


# the token endpoint, called as API Gateway calls it


def test_token_response_members(public: Door) -> None:
    """A token response has exactly the members of RFC 8693 and `base_url`."""
    answer = public.ask("POST", "/token", wanted(mint()))
    claims = claims_of(answer.json["access_token"])
    assert answer.json == {
        "access_token": answer.json["access_token"],
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
        "expires_in": 900,
        "scope": claims["scope"],
        "base_url": f"{EDGE}/openai/v1",
    }
    assert (claims["sub"], answer.status) == (SUB, 200)
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    assert answer.headers["x-request-id"] == "request-1"


def test_base64_body(public: Door) -> None:
    """A body that API Gateway delivers in base64 is read."""
    body = urlencode(wanted(mint())).encode()
    assert public.ask("POST", "/token", body, headers={"content-type": FORM}).status == 200


def test_audit_has_request_id(parts: Parts, public: Door) -> None:
    """The audit event of a token has the response's request id."""
    public.ask("POST", "/token", wanted(mint()))
    assert parts.events(request_id="request-1")[0].kind == "token.issued"


@pytest.mark.parametrize("name", ["grant_type", "subject_token", "subject_token_type", "audience"])
def test_missing_parameter(public: Door, name: str) -> None:
    """A missing parameter is named in the error."""
    fields = {one: value for one, value in wanted(mint()).items() if one != name}
    answer = public.ask("POST", "/token", fields)
    assert answer.status == 400
    assert answer.json == {
        "error": "invalid_request",
        "error_description": f"{name} is missing",
        "request_id": "request-1",
    }


@pytest.mark.parametrize(
    ("body", "content_type", "error"),
    [
        (None, JSON, "invalid_request"),
        ("{", JSON, "invalid_request"),
        ("[]", JSON, "invalid_request"),
        ("audience", FORM, "invalid_request"),
        ("audience=a&audience=b", FORM, "invalid_request"),
        ('{"audience": "a", "audience": "b"}', JSON, "invalid_request"),
        ("grant_type=client_credentials", FORM, "unsupported_grant_type"),
        (urlencode(wanted("x", requested_token_type="urn:x")), FORM, "invalid_request"),
        (json.dumps(wanted("x", audience="\ud800")), JSON, "invalid_request"),
        (json.dumps(wanted("x.y.z")), JSON, "invalid_grant"),
        (b"\xff\xfe", JSON, "invalid_request"),
    ],
)
def test_malformed_token_request(public: Door, body: str | bytes | None, content_type: str, error: str) -> None:
    """A malformed token request is a 400 with the OAuth error code that fits."""
    answer = public.ask("POST", "/token", body, headers={"content-type": content_type})
    assert (answer.status, answer.json["error"]) == (400, error)
    assert answer.headers["cache-control"] == "no-store"


def test_unverified_token_gets_bare_error(public: Door) -> None:
    """Until a token is verified, the response says nothing but `invalid_grant`."""
    answer = public.ask("POST", "/token", wanted(mint(aud="another")))
    assert answer.json == {"error": "invalid_grant", "request_id": "request-1"}


def test_idempotent_retry(public: Door) -> None:
    """A retry with the same Idempotency-Key gets the same claims."""
    subject, headers = mint(), {"Idempotency-Key": "0123456789abcdef0123456789abcdef"}
    first, again = (public.ask("POST", "/token", wanted(subject), headers=headers) for _ in range(2))
    assert claims_of(first.json["access_token"]) == claims_of(again.json["access_token"])


def test_short_idempotency_key(public: Door) -> None:
    """An Idempotency-Key of fewer than 22 characters is a 400."""
    answer = public.ask("POST", "/token", wanted(mint()), headers={"Idempotency-Key": "x" * 21})
    assert answer.status == 400
    assert answer.json["error_description"].startswith("Idempotency-Key must have 22")


def test_quota_exceeded(parts: Parts, public: Door) -> None:
    """A used-up quota is a 429 with a Retry-After."""
    parts.apply(grant(quota="{tokens: 1/hour, calls: 9/minute}"))
    assert public.ask("POST", "/token", wanted(mint())).status == 200
    answer = public.ask("POST", "/token", wanted(mint()))
    assert (answer.status, answer.json["error"], answer.headers["retry-after"]) == (429, "quota_exceeded", "3600")


def test_405_names_methods(public: Door) -> None:
    """A 405 names the allowed methods."""
    answer = public.ask("GET", "/token")
    assert (answer.status, answer.json["error"], answer.headers["allow"]) == (405, "invalid_request", "POST")


# the documents


def test_metadata(public: Door) -> None:
    """Both metadata documents are the same, and name each endpoint."""
    documents = [
        public.ask("GET", f"/.well-known/{one}") for one in ("oauth-authorization-server", "openid-configuration")
    ]
    assert documents[0].json == documents[1].json
    found = documents[0].json
    assert (found["issuer"], found["token_endpoint"]) == (BROKER, f"{BROKER}/token")
    assert found["revocation_endpoint"] == f"{BROKER}/revoke"
    assert found["protected_resources"] == [EDGE]
    assert found["jwks_uri"] == f"{BROKER}/.well-known/jwks.json"
    assert found["grant_types_supported"] == [TOKEN_EXCHANGE, JWT_BEARER]
    assert found["id_token_signing_alg_values_supported"] == ["ES256"]
    assert documents[0].headers["cache-control"] == "public, max-age=300"


def test_jwks_is_public_half(parts: Parts, public: Door) -> None:
    """The JWKS has the public half of the signing key and nothing else."""
    answer = public.ask("GET", "/.well-known/jwks.json")
    (key,) = answer.json["keys"]
    assert key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (key["kid"], key["use"], key["alg"]) == (parts.signer.kid(), "sig", "ES256")
    assert answer.headers["cache-control"] == "public, max-age=300"


def audience_of(public: Door, issuer: str) -> object:
    answer = public.ask("GET", "/audience", query={"issuer": issuer})
    assert (answer.status, answer.headers["cache-control"]) == (200, "public, max-age=300")
    return answer.json


def test_audience_of_issuer(parts: Parts, public: Door) -> None:
    """A job learns which audience its issuer's tokens must have."""
    parts.apply(grant().replace("audience: keybroker", "audience: keybroker.octo-org"))
    assert audience_of(public, CI) == {"audience": "keybroker.octo-org"}


def test_audience_hides_registration(parts: Parts, public: Door) -> None:
    """An unregistered issuer gets the same answer as one with the default audience."""
    parts.apply(grant(to='{aws: "arn:aws:iam::123456789012:role/app"}'))
    assert (
        audience_of(public, "aws")
        == audience_of(public, CI)
        == audience_of(public, "https://nobody.example")
        == {"audience": "keybroker"}
    )


@pytest.mark.parametrize(
    "query", [{}, {"issuer": ""}, {"issuer": "https://a.example/" + "a" * 2_000}, {"issuer": CI, "more": "1"}]
)
def test_audience_needs_one_issuer(public: Door, query: dict[str, str]) -> None:
    """A query that does not name exactly one issuer is a 400."""
    answer = public.ask("GET", "/audience", query=query)
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")


def test_healthz(parts: Parts, public: Door) -> None:
    """/healthz is 200 while state can be read, and 503 otherwise."""
    answer = public.ask("GET", "/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    (parts.directory / "state.db").rename(parts.directory / "gone.db")
    assert public.ask("GET", "/healthz").status == 503


# administration


def test_unsigned_is_403(running: Running) -> None:
    """An unsigned request is a 403 at every signed route."""
    for (method, resource), (_, parameters) in ASKED.items():
        path = resource.format(**{name: quote(value, safe="") for name, value in parameters.items()})
        answer = call(method, running.broker + path, b"{}" if method in ("POST", "PUT") else None)
        assert (answer.status, answer.headers["Content-Type"]) == (403, "application/problem+json"), resource
    assert call("POST", f"{running.broker}/token/iam", {"audience": "openai"}).status == 403


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
    ("GET", "/admin/keys"): (None, {}),
    ("PUT", "/admin/keys/{name}"): ({"value": "sk-new"}, {"name": "openai"}),
    ("GET", "/admin/policy"): (None, {}),
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
    if_match = {"if-match": f'"{parts.control.current().version}"'}
    for (method, resource), (body, parameters) in ASKED.items():
        answer = admin.administer(method, resource, body, parameters=parameters, headers=if_match)
        made = (method, resource) == ("POST", REVOCATIONS)
        assert answer.status == (404 if method == "DELETE" else 201 if made else 200), answer


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


@pytest.mark.parametrize("identity", [None, {}, {"userArn": ADA}, {"user": "ada", "sourceIp": "::1"}])
def test_token_iam_needs_identity(parts: Parts, public: Door, identity: dict[str, str] | None) -> None:
    """Without an identity from API Gateway, /token/iam issues nothing and records nothing."""
    before = len(parts.events())
    claimed = {"x-amzn-user-arn": ADA, "authorization": "AWS4-HMAC-SHA256 Credential=x"}
    answer = public.ask("POST", "/token/iam", {"audience": "openai"}, identity=identity, headers=claimed)
    assert (answer.status, answer.json["error"]) == (403, "access_denied")
    assert len(parts.events()) == before


def test_revoke_is_in_force(parts: Parts, admin: Door) -> None:
    """A 201 means that the revocation is in force and recorded."""
    token = parts.token()
    answer = admin.administer("POST", REVOCATIONS, revocation(until=NOW + 60))
    assert answer.status == 201
    assert answer.json == {
        "id": answer.json["id"],
        "scope": "principal",
        "target": SUB,
        "reason": "left the company",
        "author": ADA,
        "at": NOW,
        "until": NOW + 60,
        "lifted_at": None,
        "lifted_by": None,
    }
    with pytest.raises(Refusal, match="revoked_principal"):
        parts.admit(token)
    (event,) = parts.events(kind="revocation.made")
    assert (event.actor, event.principal, event.request_id) == (ADA, SUB, "request-1")
    assert event.detail == {
        "revocation": answer.json["id"],
        "scope": "principal",
        "target": SUB,
        "why": "left the company",
    }


def test_restore_by_id(parts: Parts, admin: Door) -> None:
    """Restoring by id ends the block, once, with one audit event."""
    made = admin.administer("POST", REVOCATIONS, revocation()).json["id"]
    resource, parameters = f"{REVOCATIONS}/{{revocation_id}}", {"revocation_id": made}
    for _ in range(2):  # restoring twice changes nothing
        answer = admin.administer("DELETE", f"{REVOCATIONS}/{made}", resource=resource, parameters=parameters)
        assert (answer.status, answer.json["lifted_at"], answer.json["lifted_by"]) == (200, NOW, ADA)
    (event,) = parts.events(kind="revocation.lifted")
    assert (event.actor, event.principal) == (ADA, SUB)
    assert event.detail == {"revocation": made, "scope": "principal", "target": SUB, "why": "left the company"}
    parts.admit(parts.token())


def test_restore_unknown(admin: Door) -> None:
    """Restoring an unknown revocation is a 404 as an RFC 9457 problem."""
    resource, parameters = f"{REVOCATIONS}/{{revocation_id}}", {"revocation_id": "nothing"}
    answer = admin.administer("DELETE", f"{REVOCATIONS}/nothing", resource=resource, parameters=parameters)
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json == {
        "type": "about:blank",
        "title": "not_found",
        "status": 404,
        "detail": "no such revocation",
        "request_id": "request-1",
    }


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (None, "malformed JSON body"),
        ("{", "malformed JSON body"),
        ("[" * 50_000, "malformed JSON body"),
        ("[]", "the body must be a JSON object"),
        ('{"scope": "key", "scope": "grant"}', "a parameter was sent twice"),
        (revocation(scope="user"), "scope must be one of"),
        (revocation(id=""), "id must be text"),
        (revocation(id="\ud800"), "id must be Unicode text"),
        (revocation(reason=5), "reason must be text"),
        ({"scope": "key", "id": "openai"}, "reason must be text"),
        (revocation(until=NOW), "until must be in the future"),
        (revocation(more=1), "unknown members: more"),
    ],
)
def test_malformed_revocation(parts: Parts, admin: Door, body: object, detail: str) -> None:
    """A malformed revocation is a problem that names the fault, and nothing is revoked."""
    answer = admin.administer("POST", REVOCATIONS, body)
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
    assert (answer.json["title"], answer.json["status"], answer.json["type"]) == ("invalid_request", 400, "about:blank")
    assert answer.json["detail"].startswith(detail)
    assert parts.events(kind="revocation.made") == ()


def test_revocation_body_limit(admin: Door) -> None:
    """A revocation over 64 KiB is a 413."""
    assert admin.administer("POST", REVOCATIONS, " " * (BODY_LIMIT + 1)).status == 413


def test_audit_filters(parts: Parts, admin: Door) -> None:
    """Each filter of the audit selects exactly the events with that value."""
    parts.exchange(request_id="r-1")
    parts.exchange(mint(NOW + 50, repository_id="5"), NOW + 50, request_id="r-2")
    with pytest.raises(Refusal, match="no_grant"):
        parts.exchange(mint(ref="x"), request_id="r-3")

    def found(**query: str) -> list[str]:
        items = admin.administer("GET", AUDIT, query=query).json["items"]
        return [one["request_id"] for one in items if one["kind"].startswith("token.")]

    assert found(request_id="r-2") == ["r-2"]
    assert found(principal=SUB) == ["r-3", "r-1"]
    assert found(grant="app") == ["r-2", "r-1"]
    assert found(key="openai") == ["r-3", "r-2", "r-1"]
    assert found(kind="token.issued", principal=SUB) == ["r-1"]
    assert found(since=str(NOW + 50)) == ["r-2"]
    assert found(until=str(NOW + 50)) == ["r-3", "r-1"]
    assert found(principal="nobody") == []


def test_audit_pages(parts: Parts, admin: Door) -> None:
    """The audit's pages list every event once, newest first."""
    for number in range(5):
        parts.exchange(request_id=f"r-{number}")
    seen: list[str] = []
    after: dict[str, str] = {}
    for size in (2, 2, 1):
        page = admin.administer("GET", AUDIT, query={"kind": "token.issued", "limit": "2", **after}).json
        assert page.keys() == {"items", "next"}
        assert len(page["items"]) == size
        seen += [one["request_id"] for one in page["items"]]
        after = {"after": page["next"]}
    assert seen == ["r-4", "r-3", "r-2", "r-1", "r-0"]
    assert page["next"] is None


def test_page_size(parts: Parts, admin: Door) -> None:
    """A page has at most `limit` items, and 50 by default."""
    for number in range(PAGE_LIMIT + 1):
        parts.ledger.record(replace(parts.event(), id=str(number)))
    sizes = [len(admin.administer("GET", AUDIT, query={"limit": one}).json["items"]) for one in ("1", str(PAGE_LIMIT))]
    assert sizes == [1, PAGE_LIMIT]
    assert len(admin.administer("GET", AUDIT).json["items"]) == 50


@pytest.mark.parametrize(
    "query",
    [
        {"reason": "x"},
        {"Principal": "x"},
        {"since": "yesterday"},
        {"until": "-1"},
        {"limit": "1.5"},
        {"limit": ""},
        {"limit": "0"},
        {"limit": str(PAGE_LIMIT + 1)},
        {"limit": "9" * 5000},
        {"since": "1" * 12},
        {"since": chr(0x661)},
        {"after": "garbage"},
        {"after": "-1"},
        {"after": "9" * 30},
        {"after": "1 OR 1"},
    ],
)
def test_audit_bad_query(admin: Door, query: dict[str, str]) -> None:
    """An invalid filter or cursor is a 400."""
    answer = admin.administer("GET", AUDIT, query=query)
    assert (answer.status, answer.json["title"]) == (400, "invalid_request")


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


def test_success_is_not_logged(public: Door, caplog: pytest.LogCaptureFixture) -> None:
    """A success writes no log line."""
    caplog.set_level(logging.INFO, logger="keybroker")
    assert public.ask("POST", "/token", wanted(mint(iss=CI))).status == 200
    assert [one for one in caplog.records if one.name == "keybroker"] == []
