from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from local.practice.federation.anthropic import AUDIENCE, PATH, AnthropicEndpoint, Rule, add_routes
from local.practice.federation.endpoint import JWT_BEARER, Fault
from tests import forge
from tests.own_issuer import SUBJECT, Clock, OwnIssuer, Response, post_form, post_json
from tests.practice_server import serving


@dataclass
class Caller:
    """The endpoint, and our issuer as its caller."""

    endpoint: AnthropicEndpoint
    issuer: OwnIssuer
    url: str

    def body(self, assertion: str | None = None, **members: object) -> dict[str, object]:
        rule = self.endpoint.rule
        whole = {
            "grant_type": JWT_BEARER,
            "assertion": self.issuer.assertion() if assertion is None else assertion,
            "federation_rule_id": rule.id,
            "organization_id": rule.organization,
            "service_account_id": rule.service_account,
            "workspace_id": rule.workspaces[0],
            **members,
        }
        return {name: value for name, value in whole.items() if value is not None}

    def mint(self, assertion: str | None = None, **members: object) -> Response:
        return post_json(self.url, self.body(assertion, **members))

    def reason(self) -> str:
        return self.endpoint.history[-1].reason


@pytest.fixture
def caller(clock: Clock) -> Iterator[Caller]:
    issuer, app = OwnIssuer(clock, AUDIENCE), web.Application()
    endpoint = AnthropicEndpoint(issuer.trusted(), Rule(SUBJECT), clock)
    add_routes(app, endpoint)
    with serving(app) as url:
        yield Caller(endpoint, issuer, url + PATH)


def test_an_assertion_becomes_a_token(caller: Caller, clock: Clock) -> None:
    """The token is a bearer's, with its life and scope, and is accepted until its end."""
    answer = caller.mint()
    value = answer.body.pop("access_token")
    assert (answer.status, answer.body) == (
        200,
        {"token_type": "Bearer", "expires_in": 3600, "scope": "workspace:inference"},
    )
    assert value.startswith("sk-ant-oat01-")
    assert caller.endpoint.minted.accepts(value, clock() + 3599)
    assert not caller.endpoint.minted.accepts(value, clock() + 3600)


def test_keys_of_rsa_are_accepted_too(clock: Clock, caller: Caller) -> None:
    issuer = OwnIssuer(clock, AUDIENCE, forge.rsa_key("ours-rsa"))
    caller.endpoint.issuer = issuer.trusted()
    assert caller.mint(issuer.assertion()).status == 200


@pytest.mark.parametrize(("left", "life"), [(3600, 3600), (600, 1200), (40, 80), (20, 60), (-10, 60)])
def test_a_token_lives_twice_the_rest_of_its_assertion(caller: Caller, clock: Clock, left: int, life: int) -> None:
    """But never longer than the rule has it, nor less than a minute."""
    expires = int(clock()) + left
    assertion = caller.issuer.assertion(exp=expires, iat=min(int(clock()), expires - 60))
    assert caller.mint(assertion).body["expires_in"] == life


def test_a_rule_shortens_a_token_s_life(caller: Caller) -> None:
    caller.endpoint.rule.life = 900
    assert caller.mint().body["expires_in"] == 900


def test_a_denial_never_says_why(caller: Caller) -> None:
    """Every denial has the same 401, with an id of its own; only the provider's history has the reason."""
    now = int(caller.issuer.clock())
    denied = {
        "match_subject": caller.issuer.assertion(sub=f"{SUBJECT}2"),
        "match_audience": caller.issuer.assertion(aud="https://api.openai.com/v1"),
        "match_issuer": caller.issuer.assertion(iss="https://other.example.com"),
        "signature_invalid": caller.issuer.assertion(forge.ec_key("theirs"), header={"kid": "ours"}),
        "kid_unknown": caller.issuer.assertion(header={"kid": "other"}),
        "expired": caller.issuer.assertion(iat=now - 100, exp=now - 30),
        "type_not_allowed": caller.issuer.token_for_a_caller(),
        "malformed": "not-a-jwt",
    }
    answers = {expected: caller.mint(assertion) for expected, assertion in denied.items()}
    assert [one.reason for one in caller.endpoint.history] == list(denied)
    ids = {one.body.pop("request_id") for one in answers.values()}
    assert len(ids) == len(denied)
    opaque = {"type": "error", "error": {"type": "authentication_error", "message": "Authentication failed"}}
    assert all((one.status, one.body) == (401, opaque) for one in answers.values())


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"federation_rule_id": "fdrl_other"}, "rule_not_found"),
        ({"organization_id": "11111111-2222-4333-8444-555555555556"}, "rule_not_found"),
        ({"service_account_id": "svac_other"}, "match_service_account"),
        ({"workspace_id": "wrkspc_other"}, "match_workspace"),
        ({"workspace_id": "default"}, "match_workspace"),
    ],
)
def test_another_s_ids_are_denied(caller: Caller, members: Mapping[str, str], expected: str) -> None:
    assert (caller.mint(**members).status, caller.reason()) == (401, expected)


def test_an_archived_rule_mints_nothing_more(caller: Caller, clock: Clock) -> None:
    """What it minted before lives on."""
    value = caller.mint().body["access_token"]
    caller.endpoint.rule.is_archived = True
    assert (caller.mint().status, caller.reason()) == (401, "rule_not_found")
    assert caller.endpoint.minted.accepts(value, clock())


def test_a_rule_of_several_workspaces_wants_one_named(caller: Caller) -> None:
    assert caller.mint(workspace_id=None).status == 200
    caller.endpoint.rule.workspaces = ("wrkspc_a", "wrkspc_b")
    assert (caller.mint(workspace_id=None).status, caller.reason()) == (401, "workspace_id_required")
    assert caller.mint(workspace_id="wrkspc_b").status == 200


def test_an_assertion_is_used_once(caller: Caller) -> None:
    """A second request with one `jti` is denied, unless the issuer's jti are not checked; without a jti it is not."""
    assertion, without = caller.issuer.assertion(), caller.issuer.assertion(jti=None)
    assert caller.mint(assertion).status == 200
    assert (caller.mint(assertion).status, caller.reason()) == (401, "jti_reused")
    assert [caller.mint(without).status, caller.mint(without).status] == [200, 200]
    caller.endpoint.checks_jti = False
    assert caller.mint(assertion).status == 200


@pytest.mark.parametrize(
    "members",
    [
        {"grant_type": "client_credentials"},
        {"grant_type": None},
        {"federation_rule_id": "rule_1"},
        {"federation_rule_id": None},
        {"organization_id": "org-1"},
        {"service_account_id": None},
        {"service_account_id": 5},
        {"workspace_id": "ws_1"},
        {"assertion": ""},
        {"assertion": "a" * (16 * 1024 + 1)},
        {"scope": "workspace:inference"},
    ],
)
def test_a_malformed_member_is_an_invalid_request(caller: Caller, members: Mapping[str, Any]) -> None:
    """Members that are missing, unknown or not in their form are told from a denial."""
    answer = caller.mint(**members)
    assert (answer.status, answer.body["error"]["type"]) == (400, "invalid_request_error")
    assert answer.body["request_id"] == answer.headers["request-id"]


def test_only_json_is_read(caller: Caller) -> None:
    """A form, and what is no JSON object or too large, is refused."""
    form = {name: str(value) for name, value in caller.body().items()}
    assert post_form(caller.url, form).status == 400
    assert caller.reason() == "media_type"
    assert post_json(caller.url, b"[]").status == 400
    assert post_json(caller.url, b"{").status == 400
    assert post_json(caller.url, b" " * (32 * 1024 + 1)).status == 413
    assert len(caller.endpoint.minted) == 0


def test_faults_are_answered_in_turn(caller: Caller) -> None:
    """A fault denies, fails, shortens a life to nothing, or sends rubbish; after them all is well."""
    caller.endpoint.faults.coming = [
        Fault(is_denied=True),
        Fault(status=529, retry_after="7"),
        Fault(life=0),
        Fault(body=b"<html>"),
    ]
    denied, failed, ended, rubbish, well = (caller.mint() for _ in range(5))
    assert (denied.status, denied.body["error"]["type"]) == (401, "authentication_error")
    assert (failed.status, failed.body["error"]["type"]) == (529, "overloaded_error")
    assert failed.headers["retry-after"] == "7"
    assert (ended.status, ended.body["expires_in"]) == (200, 0)
    assert not caller.endpoint.minted.accepts(ended.body["access_token"], caller.issuer.clock())
    assert (rubbish.status, rubbish.body) == (200, None)
    assert well.status == 200
    assert len(caller.endpoint.minted) == 3


def test_a_lost_answer_spends_the_assertion(caller: Caller) -> None:
    """A token can be minted though the answer says that it was not; the same assertion is denied then."""
    caller.endpoint.faults.coming = [Fault(status=503, is_done=True)]
    assertion = caller.issuer.assertion()
    assert caller.mint(assertion).status == 503
    assert len(caller.endpoint.minted) == 1
    assert (caller.mint(assertion).status, caller.reason()) == (401, "jti_reused")
    assert caller.mint().status == 200


def test_a_lasting_fault_stays(caller: Caller) -> None:
    caller.endpoint.faults.lasting = Fault(status=500)
    assert [caller.mint().status for _ in range(3)] == [500, 500, 500]
    caller.endpoint.faults.lasting = Fault()
    assert caller.mint().status == 200
