from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from aiohttp import web

from local.practice.federation import github_app
from local.practice.federation.endpoint import Fault
from local.practice.federation.github_app import GitHubAppEndpoint, Installation
from tests import forge
from tests.own_issuer import Clock, OwnIssuer, Response, post_json, request
from tests.practice_server import serving

CLIENT_ID = "Iv23practice"


@dataclass
class Caller:
    """The endpoint, and an App as its caller."""

    endpoint: GitHubAppEndpoint
    app: OwnIssuer
    url: str

    def jwt(self, **claims: Any) -> str:  # noqa: ANN401  any claim
        now = int(self.app.clock())
        usual = {"iat": now - 60, "nbf": None, "exp": now + 540, "sub": None, "aud": None, "jti": None}
        return self.app.assertion(header={"kid": "unused"}, **{**usual, **claims})

    def mint(self, jwt: str | None = None, installation: int = 55555, **body: object) -> Response:
        url = f"{self.url}/app/installations/{installation}/access_tokens"
        return post_json(url, body, Authorization=f"Bearer {self.jwt() if jwt is None else jwt}")


@pytest.fixture
def caller(clock: Clock) -> Iterator[Caller]:
    served, app = web.Application(), OwnIssuer(clock, "", forge.rsa_key("app"), CLIENT_ID)
    endpoint = GitHubAppEndpoint(app.trusted(), Installation(), clock)
    github_app.add_routes(served, endpoint)
    with serving(served) as url:
        yield Caller(endpoint, app, url)


def test_an_app_s_jwt_becomes_a_token(caller: Caller, clock: Clock) -> None:
    """The token lives an hour, for all repositories and with all permissions of the installation."""
    answer = caller.mint()
    value = answer.body.pop("token")
    assert datetime.fromisoformat(answer.body.pop("expires_at")).timestamp() == clock() + 3600
    assert (answer.status, answer.body) == (
        201,
        {"permissions": {"contents": "write", "metadata": "read"}, "repository_selection": "all"},
    )
    assert value.startswith("ghs_")
    assert caller.endpoint.minted.accepts(value, clock() + 3599)
    assert not caller.endpoint.minted.accepts(value, clock() + 3600)


def test_a_body_is_optional(caller: Caller) -> None:
    url = f"{caller.url}/app/installations/55555/access_tokens"
    assert request("POST", url, Authorization=f"Bearer {caller.jwt()}").status == 201


def test_a_token_can_be_narrowed(caller: Caller) -> None:
    """To some repositories, by name or ID, and to some permissions."""
    answer = caller.mint(repositories=["app"], repository_ids=[18], permissions={"contents": "read"})
    assert answer.body["repository_selection"] == "selected"
    assert answer.body["repositories"] == [{"id": 17, "name": "app"}, {"id": 18, "name": "docs"}]
    assert answer.body["permissions"] == {"contents": "read"}


@pytest.mark.parametrize(
    "body",
    [
        {"repositories": ["other"]},
        {"repository_ids": [19]},
        {"repositories": "app"},
        {"permissions": {"contents": "admin"}},
        {"permissions": {"issues": "read"}},
        {"permissions": ["contents"]},
    ],
)
def test_a_token_is_never_widened(caller: Caller, body: dict[str, Any]) -> None:
    assert caller.mint(**body).status == 422


def test_a_jwt_ends_within_ten_minutes(caller: Caller, clock: Clock) -> None:
    """It has begun, too, so an App whose clock is ahead backdates it."""
    now = int(clock())
    assert caller.mint(caller.jwt(exp=now + 600)).status == 201
    late = caller.mint(caller.jwt(exp=now + 601))
    assert (late.status, late.body["message"]) == (
        401,
        "'Expiration time' claim ('exp') is too far in the future",
    )
    early = caller.mint(caller.jwt(iat=now + 1))
    assert (early.status, early.body["message"][:11]) == (401, "'Issued at'")
    assert caller.mint(caller.jwt(exp=now)).status == 401


def test_only_rs256_of_the_app_is_taken(caller: Caller) -> None:
    """Another App's JWT, an elliptic key, and a token of ours for callers are refused."""
    assert caller.mint(caller.jwt(iss="Iv23other")).body["message"] == "Integration not found"
    assert caller.mint(caller.app.assertion(forge.ec_key("ours"))).status == 401
    assert caller.mint(caller.app.assertion(forge.rsa_key("theirs"), header={"kid": "app"})).status == 401
    assert caller.mint(caller.app.token_for_a_caller()).status == 401
    assert caller.mint("").status == 401
    assert len(caller.endpoint.minted) == 0


def test_a_kid_is_not_needed(caller: Caller) -> None:
    jwt = caller.app.assertion(header={"kid": None}, exp=int(caller.app.clock()) + 60)
    assert caller.mint(jwt).status == 201


def test_a_caller_names_itself(caller: Caller) -> None:
    """A request without a User-Agent is refused; every answer has an id."""
    url = f"{caller.url}/app/installations/55555/access_tokens"
    unnamed = post_json(url, {}, **{"Authorization": f"Bearer {caller.jwt()}", "User-Agent": ""})
    assert unnamed.status == 403
    assert unnamed.headers["x-github-request-id"] != caller.mint().headers["x-github-request-id"]


def test_another_installation_is_not_found(caller: Caller) -> None:
    assert (caller.mint(installation=1).status, caller.mint(installation=1).body["message"]) == (404, "Not Found")


def test_a_token_revokes_itself(caller: Caller, clock: Clock) -> None:
    """Once; what is no live token has bad credentials."""
    value, url = caller.mint().body["token"], f"{caller.url}/installation/token"
    assert request("DELETE", url, Authorization=f"Bearer {value}").status == 204
    assert not caller.endpoint.minted.accepts(value, clock())
    for authorization in (f"Bearer {value}", f"Bearer {caller.jwt()}", "Bearer"):
        refused = request("DELETE", url, Authorization=authorization)
        assert (refused.status, refused.body["message"]) == (401, "Bad credentials")


def test_faults_have_the_api_s_form(caller: Caller) -> None:
    caller.endpoint.faults.coming = [Fault(is_denied=True), Fault(status=502), Fault(life=0)]
    assert [caller.mint().status for _ in range(2)] == [401, 502]
    assert not caller.endpoint.minted.accepts(caller.mint().body["token"], caller.app.clock())
