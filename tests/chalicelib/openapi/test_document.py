from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
from chalice.app import IAMAuthorizer, RouteEntry
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no types

from chalicelib.admin.activity import PrincipalActivity
from chalicelib.audit import Event
from chalicelib.openapi import document, federation_schemas, rotation_schemas
from chalicelib.openapi.routes import ROUTES
from chalicelib.policy.plan import StoredPolicy
from chalicelib.providers.versions import KeyVersion
from chalicelib.revocation import Revocation
from chalicelib.usage import Use
from tests.chalicelib.rotation.account import Account, Everybodys, failing
from tests.http_door import admin_door, public_door
from tests.parts import CI, NOW, SUB, Parts, grant, mint
from tests.running import JWT, ROOT, TOKEN_EXCHANGE, Answer

DOCUMENT: dict[str, Any] = json.loads(document.text(ROUTES))
SCHEMAS = DOCUMENT["components"]["schemas"]


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def registered(parts: Parts) -> Iterator[tuple[str, str, RouteEntry]]:
    """Yield what Chalice registered at both doors: method, path, and its entry."""
    for door in (public_door(parts), admin_door(parts)):
        for path, methods in door.app.routes.items():
            for method, entry in methods.items():
                yield method, path, entry


# the document


def test_published_document() -> None:
    """docs/openapi.json is what the tables of routes and schemas give."""
    assert (ROOT / "docs/openapi.json").read_text() == document.text(ROUTES), "run `make openapi`"


def test_describes_every_route(parts: Parts) -> None:
    """The document describes the routes of both doors and no other."""
    there = {(method, path) for method, path, _ in registered(parts)}
    assert {(method, path) for method, path, _ in operations()} == there


def test_document_says_signed(parts: Parts) -> None:
    """The document says of each route whether it must be signed, or takes a token."""
    for method, path, entry in registered(parts):
        signed = isinstance(entry.authorizer, IAMAuthorizer)
        unsigned: list[dict[str, list[str]]] = [{"token": []}] if path == "/usage" else []
        assert DOCUMENT["paths"][path][method.lower()]["security"] == ([{"sigv4": []}] if signed else unsigned)


HAVE_A_BODY = {(route.method, route.path) for route in ROUTES if route.body}


def test_request_bodies(parts: Parts) -> None:
    """The document lists the content types that each route accepts."""
    for method, path, entry in registered(parts):
        operation = DOCUMENT["paths"][path][method.lower()]
        if (method, path) in HAVE_A_BODY:
            assert set(operation["requestBody"]["content"]) == set(entry.content_types), path
        else:
            assert "requestBody" not in operation, path


def test_path_parameters() -> None:
    """Each name in a path is one of its parameters."""
    for _, path, operation in operations():
        named = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        assert {one["name"] for one in operation["parameters"] if one["in"] == "path"} == named


def test_operation_ids() -> None:
    """Each operation has an id of its own and a summary."""
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(ids)) == len(ids)
    assert all(operation["summary"] for _, _, operation in operations())


def test_schemas_and_references() -> None:
    """Every schema is valid and used, and every reference resolves."""
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)
    text = json.dumps(DOCUMENT)
    for kind in ("schemas", "responses"):
        there = DOCUMENT["components"][kind]
        used = {one.partition('"')[0] for one in text.split(f"#/components/{kind}/")[1:]}
        assert used == set(there), f"{kind}: {used ^ set(there)}"


def test_refusal_schemas() -> None:
    """A refusal is a Problem at the administrators' door and an OAuthError at the public one."""
    for _, path, operation in operations():
        kind = "Problem" if path.startswith("/admin/") else "OAuthError"
        refusals = {status: one for status, one in operation["responses"].items() if status[0] in "45"}
        assert {one["$ref"] for one in refusals.values()} == {f"#/components/responses/{kind}{n}" for n in refusals}
        assert {"400", "413", "415", "500", "503"} <= refusals.keys()


def test_document_version() -> None:
    """The document's version is the project's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert DOCUMENT["info"]["version"] == project["version"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Event", Event),
        ("Revocation", Revocation),
        ("Use", Use),
        ("Seen", PrincipalActivity),
        ("PolicyInForce", StoredPolicy),
    ],
)
def test_schema_members(name: str, kind: type) -> None:
    """A schema of a whole type has exactly that type's members, but for an event's `subject`, which is not answered."""
    assert SCHEMAS[name]["required"] == list(SCHEMAS[name]["properties"])
    assert set(SCHEMAS[name]["required"]) == set(kind.__annotations__) - {"subject"}


def test_key_members() -> None:
    """The schema of a key has the members of its version; where it is listed also when it was used and is due."""
    members = {"name", "provider", *KeyVersion("", "", "", "", 0).shown()}
    assert set(SCHEMAS["KeyListed"]["required"]) == members | {
        "last_used",
        "rotate_after",
        "due",
        *rotation_schemas.STATE,
        *federation_schemas.STATE,
    }
    assert set(SCHEMAS["KeySet"]["required"]) == members | {"previous_origin", "probe"}


def test_key_value_is_write_only() -> None:
    """A key's value is in no response schema."""
    answered = {name: schema for name, schema in SCHEMAS.items() if not name.endswith("Request")}
    assert not any("value" in schema.get("properties", {}) for schema in answered.values())
    assert SCHEMAS["KeyRequest"]["properties"]["value"]["writeOnly"] is True


# what is answered fits it


def fits(answer: Answer, method: str, path: str) -> None:
    """Check an answer's status, content type and body against the document."""
    response = DOCUMENT["paths"][path][method.lower()]["responses"][str(answer.status)]
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    kind = answer.headers.get("content-type", "application/json")  # API Gateway's own, where there is none
    schema = {**response["content"][kind]["schema"], "components": DOCUMENT["components"]}
    if kind != "application/jsonl":
        Draft202012Validator(schema).validate(answer.json)


MANAGED = {"value": "sk-admin-0123456789", "settings": {"project": "proj_1", "service_account": "svc_1"}}
DONE: Mapping[str, tuple[object, dict[str, str]]] = {
    "GET /admin/revocations": (None, {}),
    "POST /admin/revocations": ({"scope": "grant", "id": "app", "reason": "r", "until": NOW + 60}, {}),
    "POST /admin/revocations?dry_run=true": ({"scope": "everything", "reason": "r"}, {}),
    "DELETE /admin/revocations/{revocation_id}?dry_run=true": (None, {"revocation_id": "made"}),
    "DELETE /admin/revocations/{revocation_id}": (None, {"revocation_id": "made"}),
    "GET /admin/principals": (None, {}),
    "GET /admin/principals/{principal_id}": (None, {"principal_id": SUB}),
    "POST /admin/principals/{principal_id}/pin": (
        {"unique_id": "AROAEXAMPLE123456789"},
        {"principal_id": "arn:aws:iam::123456789012:role/app"},
    ),
    "POST /admin/principals/{principal_id}/pin?dry_run=true": (
        {"unique_id": "AROAEXAMPLE123456789"},
        {"principal_id": "arn:aws:iam::123456789012:role/app"},
    ),
    "GET /admin/usage": (None, {}),
    "GET /admin/audit": (None, {}),
    "GET /admin/audit?limit=1": (None, {}),
    "GET /admin/audit?format=ocsf": (None, {}),
    "GET /admin/audit/chain": (None, {}),
    "GET /admin/audit/head": (None, {}),
    "GET /admin/audit/head?seq=1": (None, {}),
    "GET /admin/audit/check?window=hour&start=1800000000": (None, {}),
    "GET /admin/keys": (None, {}),
    "PUT /admin/keys/{name}": ({"value": "sk-new"}, {"name": "openai"}),
    "PUT /admin/keys/{name}?dry_run=true": ({"value": "sk-new"}, {"name": "openai"}),
    "GET /admin/federation?provider=anthropic&key=claude": (None, {}),
    "POST /admin/keys/{name}/mint": (None, {"name": "federated"}),
    "PUT /admin/keys/{name}/management?dry_run=true": (MANAGED, {"name": "openai"}),
    "PUT /admin/keys/{name}/management": (MANAGED, {"name": "openai"}),
    "POST /admin/keys/{name}/rotation?dry_run=true": ({"leaked": True}, {"name": "openai"}),
    "POST /admin/keys/{name}/rotation": ({"overlap": 60}, {"name": "openai"}),
    "GET /admin/keys?": (None, {}),
    "GET /admin/keys/{name}/provider-keys": (None, {"name": "openai"}),
    "POST /admin/keys/{name}/rollback?dry_run=true": (None, {"name": "openai"}),
    "POST /admin/keys/{name}/rollback": (None, {"name": "openai"}),
    "POST /admin/keys/{name}/rotation?": ({"leaked": True}, {"name": "openai"}),
    "DELETE /admin/keys/{name}/rotation": (None, {"name": "openai"}),
    "GET /admin/usage?top=5&by=calls": (None, {}),
    "GET /admin/usage?series=hour": (None, {}),
    "GET /admin/now": (None, {}),
    "GET /admin/probes": (None, {}),
    "GET /admin/refusals?request_id=abc": (None, {}),
    "GET /admin/signing": (None, {}),
    "POST /admin/signing?dry_run=true": ({"action": "prepare"}, {}),
    "POST /admin/signing": ({"action": "prepare"}, {}),
    "GET /admin/policy": (None, {}),
    "GET /admin/policy?version=1": (None, {}),
    "GET /admin/policy/history": (None, {}),
    "GET /admin/policy/grants?key=openai": (None, {}),
    "PUT /admin/policy?dry_run=true": ({"text": grant(ttl="10m")}, {}),
    "POST /admin/policy/validate": ({"text": grant()}, {}),
    "POST /admin/policy/plan": ({"text": grant(ttl="10m")}, {}),
    "POST /admin/policy/explain": ({"claims": {"iss": CI, "repository_id": "1", "x": [{}]}}, {}),
    "POST /admin/policy/replay": ({"text": grant(ttl="10m")}, {}),
    "PUT /admin/policy": ({"text": grant(ttl="10m")}, {}),
    "GET /admin/openapi.json": (None, {}),
}


FEDERATED = "{provider: openai, federated: {identity_provider: idp_1, service_account: svc_acct_1}}"


def test_admin_responses_fit(parts: Parts) -> None:
    """Every response of the administrators' door fits its schema."""
    account = Account()
    door = admin_door(parts, accounts=Everybodys(account))
    parts.apply(grant().replace("keys:", f"keys:\n  federated: {FEDERATED}", 1))
    parts.admit(parts.token())
    parts.exchange(mint(repository_id="5"))
    made = parts.revoke("principal", SUB)
    if_match = {"if-match": f'"{parts.control.current().version}"'}
    routes = {route.partition("?")[0] for route in DONE}
    assert routes == {f"{method} {path}" for method, path, _ in operations() if path.startswith("/admin/")}
    for route, (body, parameters) in DONE.items():
        method, _, target = route.partition(" ")
        path, _, query = target.partition("?")
        named = {name: quote(made if value == "made" else value, safe="") for name, value in parameters.items()}
        pairs: dict[str, Any] = dict(parse_qsl(query))
        if method == "DELETE" and path.endswith("/rotation"):
            account.before = failing("create")
            door.administer("POST", path, {}, parameters=named)
        done = door.administer(method, path, body, parameters=named, headers=if_match, query=pairs)
        assert done.status in (200, 201), (route, done)
        fits(done, method, path)
        for refused in (
            door.ask(method, path, body, parameters=named),
            door.administer(method, path, body, parameters=named, query={"x": "y"}),
            door.administer(method, path, "{", parameters=named, headers={"content-type": "text/plain"}),
        ):
            assert refused.status in (400, 403, 415)
            fits(refused, method, path)


def test_refusals_fit(parts: Parts) -> None:
    """Every other refusal fits its schema."""
    door = admin_door(parts)
    policy, revocations, keys = "/admin/policy", "/admin/revocations", "/admin/keys/{name}"
    old, new = {"if-match": '"9"'}, {"if-match": f'"{parts.control.current().version}"'}
    retry = {"idempotency-key": "0123456789abcdef0123456789abcdef"}
    asked = {"scope": "grant", "id": "app", "reason": "r"}
    door.administer("POST", revocations, asked, headers=retry)
    refusals = [
        (428, "PUT", policy, {"text": grant()}, {}),
        (412, "PUT", policy, {"text": grant()}, old),
        (422, "PUT", policy, {"text": "x"}, new),
        (422, "POST", f"{policy}/validate", {"text": grant(to="{issuer: ci, claims: {ref: x}}")}, {}),
        (422, "POST", revocations, {**asked, "id": "pods"}, retry),
        (404, "POST", revocations, {**asked, "id": "none"}, {}),
        (413, "POST", revocations, " " * 70_000, {}),
    ]
    for status, method, path, body, headers in refusals:
        answer = door.administer(method, path, body, headers=headers)
        assert answer.status == status, answer
        fits(answer, method, path)
    (parts.directory / "state.db").rename(parts.directory / "gone.db")
    answer = door.administer("PUT", keys, {"value": "x"}, parameters={"name": "openai"})
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    fits(answer, "PUT", keys)


def test_public_responses_fit(parts: Parts) -> None:
    """Every response of the public door fits its schema."""
    door = public_door(parts)
    exchange = {"grant_type": TOKEN_EXCHANGE, "audience": "openai", "subject_token": mint(), "subject_token_type": JWT}
    issued = door.ask("POST", "/token", exchange)
    answers = {("POST", "/token"): issued, ("POST", "/revoke"): door.ask("POST", "/revoke", {"token": "x"})}
    gets = [path for method, path, _ in operations() if method == "GET" and not path.startswith("/admin/")]
    queries = {"/audience": {"issuer": CI}}
    token = {"authorization": f"Bearer {issued.json['access_token']}"}
    answers |= {("GET", path): door.ask("GET", path, query=queries.get(path), headers=token) for path in gets}
    assert {one.status for one in answers.values()} == {200}
    for (method, path), answer in answers.items():
        fits(answer, method, path)
    for path in ("/token", "/token/iam", "/anthropic/v1/oauth/token", "/revoke"):
        for refused in (
            door.ask("POST", path, "{"),
            door.ask("POST", path, "x", headers={"content-type": "text/plain"}),
        ):
            assert refused.status in (400, 403, 415)
            fits(refused, "POST", path)
    fits(door.ask("GET", "/usage"), "GET", "/usage")


def test_document_is_served(parts: Parts) -> None:
    """The administrators' door serves the document."""
    answer = admin_door(parts).administer("GET", "/admin/openapi.json")
    assert (answer.status, answer.json) == (200, DOCUMENT)
