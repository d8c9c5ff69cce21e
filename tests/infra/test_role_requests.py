"""What the functions really ask of AWS, against what their roles may: everything asked is granted, everything granted asked."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict

import pytest

from chalicelib.admin import unusual
from chalicelib.aws import cloudwatch
from chalicelib.aws.answer_usage import DynamoAnswerUsage
from chalicelib.aws.botocore_client import BotocoreClient
from chalicelib.usage import Answered, ModelUse, NotAdded, window_start
from tests import aws_scenario
from tests.aws_installed import Installed, installation, issued
from tests.aws_requests import IamRequest
from tests.aws_roles import DOORS as ROLES
from tests.iam_policy import allows
from tests.infra.test_least_privilege import ARNS, policies
from tests.parts import claims_of

DOORS = tuple(one for one in ROLES if one != "probe")
"""What the probe asks of AWS is one write (tests/chalicelib/aws/test_edge_probe.py)."""
PREFIX = "kbasked"
ARN = "arn:aws:iam::000000000000:role/billing"


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, set[IamRequest]]]:
    """Do all that can be done with an installation; return what each function asked of AWS."""
    log = list(cloudwatch._LOG.handlers), cloudwatch._LOG.propagate
    with installation(tmp_path_factory.mktemp("aws"), PREFIX) as one:
        _ask_for_tokens(one)
        _administer(one)
        _watch(one)
        yield one.recorder.requests
    cloudwatch._LOG.handlers, cloudwatch._LOG.propagate = log


def _ask_for_tokens(one: Installed) -> None:
    ask = one.caller("public").ask
    token = issued(one)
    assert "status" not in one.call(token)
    assert ask("POST", "/token", aws_scenario.wanted(aws_scenario.subject_token("stranger"))).status == 400
    assert ask("POST", "/token", {**aws_scenario.wanted(), "grant": "app"}).status == 200
    assert one.caller("public", aws_scenario.ROLE).ask("POST", "/token/iam", {"audience": "openai"}).status == 200
    for path in ("/.well-known/jwks.json", "/healthz"):
        assert ask("GET", path).status == 200
    assert ask("POST", "/revoke", {"token": token}).status == 200
    assert one.call(token)["status"] == "403"
    small = ask("POST", "/token", aws_scenario.wanted(aws_scenario.subject_token("build-2"))).json["access_token"]
    assert "429" in [one.call(small).get("status") for _ in range(5)]


def _administer(one: Installed) -> None:
    administrator = one.administrator()
    tag = administrator.ask("GET", "/admin/policy").headers["etag"]
    for text in (aws_scenario.policy().replace("  billing:", "  invoices:"), aws_scenario.policy()):
        answer = administrator.ask("PUT", "/admin/policy", {"text": text}, if_match=tag)
        assert answer.status == 200, answer.body
        tag = answer.headers["etag"]
    for scope, name in (("grant", "app"), ("principal", "alice"), ("token", "a-token"), ("key", "openai")):
        unseen = {"unseen": True} if scope in ("principal", "token") else {}
        sent = {"scope": scope, "id": name, "reason": "a test", **unseen}
        made = administrator.ask("POST", "/admin/revocations", sent)
        assert made.status == 201, made.body
        path = "/admin/revocations/{revocation_id}"
        assert administrator.ask("DELETE", path, revocation_id=made.json["id"]).status == 200
    pin = "/admin/principals/{principal_id}/pin"
    bound = administrator.ask("POST", pin, {"unique_id": "AROAEXAMPLEEXAMPLEEX1"}, principal_id=ARN)
    assert bound.status == 200, bound.body
    put = administrator.ask(
        "PUT", "/admin/keys/{name}", {"value": aws_scenario.KEY_VALUE}, name="openai", query={"probe": "false"}
    )
    assert put.status == 200, put.body
    _replace_a_key(one)
    for path in ("audit", "audit/check", "keys", "principals", "usage", "revocations"):
        assert administrator.ask("GET", f"/admin/{path}").status == 200, path
    assert administrator.ask("GET", "/admin/principals/{principal_id}", principal_id=ARN).status == 200
    _see_what_answers_took(one)
    _see_own_usage(one)
    explained = administrator.ask("POST", "/admin/policy/explain", {"token": aws_scenario.subject_token()})
    assert explained.status == 200


def _replace_a_key(one: Installed) -> None:
    def provider(method: str, url: str, *_rest: object) -> tuple[int, bytes]:
        is_new = method == "POST" and "service_accounts" in url
        return 200, b'{"id": "key_1", "value": "sk-new-0123456789"}' if is_new else b'{"data": []}'

    with pytest.MonkeyPatch.context() as patch:
        for module in ("chalicelib.issuers.fetch", "chalicelib.issuers.key_probe"):
            patch.setattr(f"{module}.send", provider)
        administrator = one.administrator()
        managed = {"value": "sk-admin-0123456789", "settings": {"project": "proj_1", "service_account": "svc_1"}}
        put = administrator.ask("PUT", "/admin/keys/{name}/management", managed, name="openai")
        assert put.status == 200, put.body
        again = administrator.ask("POST", "/admin/keys/{name}/rotation", {"overlap": 0}, name="openai")
        assert again.json["rotation"] is None, again.body


def _watch(one: Installed) -> None:
    began = int(time.time())
    assert "status" not in one.call(issued(one))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unusual, "LEAST", 1)  # whoever calls is compared with what it did before
        windows = range(began - began % 300, int(time.time()) + 1, 300)  # one, or two where it went on meanwhile
        printed = "".join(one.watch(start + 300) for start in windows)
    assert '"first_use"' in printed


def _see_what_answers_took(one: Installed) -> None:
    administrator = one.administrator()
    (use, *_) = administrator.ask("GET", "/admin/usage").json["items"]
    took = ModelUse("gpt-5-mini", 1, 0, 9, 4, 0)
    answered = Answered(use["principal"], use["grant"], use["key"], window_start("minute", int(time.time())), took)
    store = DynamoAnswerUsage(BotocoreClient(one.tables.client), one.tables.counters)
    assert store.add([answered]) == NotAdded()
    (use, *_) = administrator.ask("GET", "/admin/usage").json["items"]
    assert use["models"] == [asdict(took)]


def _see_own_usage(one: Installed) -> None:
    token = issued(one)
    assert "status" not in one.call(token)
    claims, took = claims_of(token), ModelUse("gpt-5-mini", 1, 0, 9, 4, 0)
    minute = window_start("minute", int(time.time()))
    store = DynamoAnswerUsage(BotocoreClient(one.tables.client), one.tables.counters)
    assert store.add([Answered(str(claims["sub"]), str(claims["grant"]), "openai", minute, took)]) == NotAdded()
    answer = one.caller("public").ask("GET", "/usage", authorization=f"Bearer {token}")
    assert answer.status == 200, answer.body
    day = answer.json["usage"][1]
    assert (day["calls"] > 0, day["models"] != []) == (True, True)


def _arn(one: IamRequest) -> str:
    if one.action.startswith("kms:"):
        return ARNS["signing"]
    name = one.on.removeprefix(f"{PREFIX}-").removeprefix(f"{PREFIX}/")
    named = {"ledger/index/by_day": "index", "openai": "secret", f"{PREFIX}.management/openai": "management"}
    return ARNS[named.get(name, name)]


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_role_allows_every_request(requests: Mapping[str, set[IamRequest]], door: str) -> None:
    """With the request's own keys and algorithm, as IAM would look at it."""
    assert len(requests[door]) > 4
    for one in sorted(requests[door], key=str):
        assert allows(policies(door), one.action, _arn(one), one.conditions()), one


_BY_OTHERS = ("WriteItsLog", "UseTheTablesKey", "EncryptProviderKeys", "DecryptProviderKeys")
"""Statements of what Lambda, DynamoDB and Secrets Manager do for a function, which it does not ask for by itself."""


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_role_allows_no_more_than_is_requested(requests: Mapping[str, set[IamRequest]], door: str) -> None:
    """Every action that a role allows is one that its function requests."""
    for policy in policies(door):
        for statement in policy["Statement"]:
            if statement["Sid"] in _BY_OTHERS or statement["Effect"] == "Deny":
                continue
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            for action in actions:
                alone = [{"Statement": [{**statement, "Action": action}]}]
                used = [one for one in requests[door] if allows(alone, one.action, _arn(one), one.conditions())]
                assert used, f"{statement['Sid']}: {action}: nothing asks for it"
