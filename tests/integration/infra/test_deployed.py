"""What was built, deployed: API Gateway with IAM, the functions under their own roles, and the edge's zip with its tables."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from typing import Any

import pytest

from infra.verify.rows import ROWS
from tests import aws_scenario
from tests.integration.infra.installation import AWS, EDGE, ELSEWHERE, HOME, PREFIX, Installation, Signer
from tests.running import ROOT, Answer

pytestmark = pytest.mark.usefixtures("administrator")

INVOKE = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "arn:aws:execute-api:*:*:*/api/POST/token/iam"}


@pytest.fixture(scope="module")
def billing(installed: Installation) -> Signer:
    """A role that a grant names, and that may ask for tokens."""
    policy = {"Version": "2012-10-17", "Statement": [INVOKE]}
    made = installed.client("iam").create_policy(PolicyName="ask", PolicyDocument=json.dumps(policy))
    return installed.role("billing", made["Policy"]["Arn"])


@pytest.fixture(scope="module")
def stranger(installed: Installation) -> Signer:
    """A role of the account that has no right to ask."""
    return installed.role("stranger")


def by_token(installed: Installation, subject: str = "build-1") -> str:
    answer = installed.ask("public", "POST /token", aws_scenario.wanted(aws_scenario.subject_token(subject)))
    assert answer.status == 200, answer.body
    return str(answer.json["access_token"])


def status_of(result: dict[str, Any]) -> str:
    """Return what the edge refuses with, "" if it admits."""
    return str(result.get("status", ""))


# tokens


def test_an_identity_token_gets_a_token_and_the_edge_swaps_it_for_the_key(installed: Installation) -> None:
    answer = installed.ask("public", "POST /token", aws_scenario.wanted())
    assert (answer.status, answer.json["base_url"]) == (200, f"{installed.urls['edge']}/openai/v1")
    (sent_on,) = installed.call(aws_scenario.edge_event(answer.json["access_token"]))
    assert sent_on["headers"]["authorization"][0]["value"] == f"Bearer {aws_scenario.KEY_VALUE}"
    assert sent_on["origin"]["custom"]["domainName"] == "api.openai.com"


def test_a_client_that_signs_gets_a_token_that_the_edge_admits(installed: Installation, billing: Signer) -> None:
    answer = installed.ask("public", "POST /token/iam", {"audience": "openai"}, billing)
    assert answer.status == 200, answer.body
    (sent_on,) = installed.call(aws_scenario.edge_event(answer.json["access_token"]))
    assert status_of(sent_on) == ""


def test_calls_beyond_the_quota_are_refused_and_say_when_to_come_again(installed: Installation) -> None:
    token = by_token(installed, "build-2")
    results = installed.call(*(aws_scenario.edge_event(token) for _ in range(6)))  # a minute may end in between, once
    assert [status_of(one) for one in results[:2]] == ["", ""]
    refused = [one for one in results if status_of(one)]
    assert {status_of(one) for one in refused} == {"429"}
    assert all(int(one["headers"]["retry-after"][0]["value"]) <= 60 for one in refused)


def refused_by_the_gateway(answer: Answer) -> None:
    """In whose form it is refused the emulator decides; ours is in the template (tests/infra/test_templates.py)."""
    assert answer.status == 403, answer.body
    assert b"access_token" not in answer.body


def test_a_bad_signature_is_a_403(installed: Installation, billing: Signer) -> None:
    wrong = {**billing, "aws_secret_access_key": "x" * 40}
    refused_by_the_gateway(installed.ask("public", "POST /token/iam", {"audience": "openai"}, wrong))


def test_a_caller_without_the_right_to_invoke_is_a_403(installed: Installation, stranger: Signer) -> None:
    refused_by_the_gateway(installed.ask("public", "POST /token/iam", {"audience": "openai"}, stranger))


def test_a_request_that_is_not_signed_is_a_403(installed: Installation) -> None:
    refused_by_the_gateway(installed.ask("public", "POST /token/iam", {"audience": "openai"}))


def test_a_path_that_is_not_there_is_refused_before_any_function_runs(installed: Installation) -> None:
    for door in ("public", "admin"):
        assert installed.ask(door, "GET /nowhere").status == 403


# taking back


def test_what_an_administrator_revokes_the_edge_refuses(installed: Installation, administrator: Signer) -> None:
    token = by_token(installed)
    sent = {"scope": "principal", "id": f"{aws_scenario.ISSUER}|sub:build-1", "reason": "left the company"}
    before = status_of(*installed.call(aws_scenario.edge_event(token)))
    made = installed.ask("admin", "POST /admin/revocations", sent, administrator)
    after = status_of(*installed.call(aws_scenario.edge_event(token)))
    assert (before, made.status, after) == ("", 201, "403")
    restored = installed.ask("admin", f"DELETE /admin/revocations/{made.json['id']}", None, administrator)
    assert restored.status == 200, restored.body
    old, new = installed.call(aws_scenario.edge_event(token), aws_scenario.edge_event(by_token(installed)))
    assert (status_of(old), status_of(new)) == ("401", "")


def test_what_its_holder_takes_back_the_edge_refuses(installed: Installation) -> None:
    token = by_token(installed)
    assert installed.ask("public", "POST /revoke", {"token": token}).status == 200
    assert status_of(*installed.call(aws_scenario.edge_event(token))) == "403"


# administrators


def test_viewer_and_responder_permissions(installed: Installation) -> None:
    """A viewer may read but not revoke; a responder may revoke but not change the policy."""
    named = installed.outputs("admin")
    viewer, responder = installed.role("vera", named["Viewer"]), installed.role("rob", named["Responder"])
    sent = {"scope": "token", "id": "a-token", "reason": "a test", "unseen": True}
    for who, revoking in ((viewer, 403), (responder, 201)):
        assert installed.ask("admin", "GET /admin/audit", None, who).status == 200
        assert installed.ask("admin", "POST /admin/revocations", sent, who).status == revoking
        assert installed.ask("admin", "PUT /admin/policy", {"text": ""}, who).status == 403


def test_a_caller_of_tokens_administers_nothing(installed: Installation, billing: Signer) -> None:
    for who in (billing, None):
        assert installed.ask("admin", "GET /admin/policy", None, who).status == 403


def test_neither_door_has_the_other_s_routes(installed: Installation, administrator: Signer) -> None:
    assert installed.ask("public", "GET /admin/policy", None, administrator).status == 403
    assert installed.ask("admin", "POST /token", aws_scenario.wanted(), administrator).status == 403


def test_an_administrator_can_call_every_route_that_reads(installed: Installation, administrator: Signer) -> None:
    for path in ("keys", "principals", "usage", "revocations", "policy", "audit", "audit/check", "openapi.json"):
        answer = installed.ask("admin", f"GET /admin/{path}", None, administrator)
        assert answer.status == 200, (path, answer.body)


def by_command(installed: Installation, signer: Signer, *arguments: str) -> str:
    """Run the product's own command line as this signer; return what it writes."""
    urls = {name: installed.url(door) for name, door in (("KEYBROKER_URL", "public"), ("KEYBROKER_ADMIN_URL", "admin"))}
    known = {"PATH": os.environ["PATH"], "HOME": str(installed.out), "AWS_REGION": HOME}
    done = subprocess.run(
        [sys.executable, "-m", "keybroker.cli", *arguments],
        env={**known, **urls, **{name.upper(): value for name, value in signer.items()}},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_command_line_gets_tokens_and_administers(
    installed: Installation, billing: Signer, administrator: Signer
) -> None:
    token = by_command(installed, billing, "token", "--key", "openai", "--grant", "billing").strip()
    assert status_of(*installed.call(aws_scenario.edge_event(token))) == ""
    assert "openai" in by_command(installed, administrator, "keys", "list")
    assert "token.issued" in by_command(installed, administrator, "audit", "--kind", "token.issued")


# what is deployed


def test_the_keys_of_the_jwks_are_kms_s_and_the_issuer_is_the_broker_s_url(installed: Installation) -> None:
    jwks = installed.ask("public", "GET /.well-known/jwks.json")
    metadata = installed.ask("public", "GET /.well-known/oauth-authorization-server")
    assert (jwks.status, len(jwks.json["keys"])) == (200, 2)
    assert metadata.json["issuer"] == installed.urls["broker"]


def test_refusals_and_tokens_are_lines_and_metrics_and_no_token_is_in_them(installed: Installation) -> None:
    subject = aws_scenario.subject_token()
    token = installed.ask("public", "POST /token", aws_scenario.wanted(subject)).json["access_token"]
    refused = installed.ask("public", "POST /token", aws_scenario.wanted(f"{subject}x"))
    logs = installed.client("logs")
    group = f"/aws/lambda/{PREFIX}-public"
    events = logs.filter_log_events(logGroupName=group)["events"]
    text = "\n".join(one["message"] for one in events)
    assert refused.json["request_id"] in text
    assert '"CloudWatchMetrics"' in text
    assert token not in text
    assert subject not in text


def test_the_edge_s_log_is_kept_for_so_long_in_each_region(installed: Installation) -> None:
    for region in (EDGE, "ap-south-1"):
        found = installed.client("logs", region).describe_log_groups(logGroupNamePrefix="/aws/lambda/us-east-1.")
        assert [one["retentionInDays"] for one in found["logGroups"]] == [90]


def test_the_tables_and_the_keys_are_protected(installed: Installation) -> None:
    stacks = installed.client("cloudformation")
    for name in ("tables", "keys"):
        (found,) = stacks.describe_stacks(StackName=f"{PREFIX}-{name}")["Stacks"]
        assert found["EnableTerminationProtection"] is True


def test_the_edge_s_zip_is_told_where_home_is(installed: Installation) -> None:
    baked = json.loads((installed.out / "edge.json").read_text())
    assert (baked["region"], baked["issuer"], baked["edge_url"]) == (
        HOME,
        installed.urls["broker"],
        installed.urls["edge"],
    )


def test_the_distribution_runs_a_numbered_version(installed: Installation) -> None:
    arn = installed.outputs("edge", EDGE)["FunctionVersion"]
    assert re.fullmatch(rf"arn:aws:lambda:us-east-1:\d{{12}}:function:{PREFIX}-edge:\d+", arn)


# watching


def test_the_watcher_measures_under_its_own_role(installed: Installation) -> None:
    """As deployed, from the administration's zip: it reads the tables, and prints calls by key and who made them."""
    token = by_token(installed)
    assert status_of(*installed.call(aws_scenario.edge_event(token))) == ""
    at = time.strftime(
        "%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 300)
    )  # so that now is among the minutes that are over
    asked = {"FunctionName": f"{PREFIX}-watcher", "Payload": json.dumps({"time": at}), "LogType": "Tail"}
    answer = installed.client("lambda").invoke(**asked)
    printed = base64.b64decode(answer.get("LogResult", "")).decode()
    assert "FunctionError" not in answer, answer["Payload"].read().decode() + printed
    assert '"Heartbeat": 1' in printed, printed
    assert "sub:build-1" in printed


def test_a_probe_elsewhere_runs_as_the_home_region_s(installed: Installation) -> None:
    """One role, which one grant names; the function of another region knows where the tables are."""
    home, elsewhere = (
        installed.client("lambda", region).get_function_configuration(FunctionName=f"{PREFIX}-probe")
        for region in (HOME, ELSEWHERE)
    )
    assert elsewhere["Role"] == home["Role"]
    assert elsewhere["Environment"]["Variables"] == home["Environment"]["Variables"]


# make verify


HOLD_HERE = (
    "LeadingKeys conditions hold in transactions, too",
    "KMS signs a digest under the condition on its algorithm",
    "the account's administrator cannot sign",
)
"""Rows that are judged by the installation itself; the others need what ministack has not: CloudFront, access logs."""
ALLOWED = {
    "Effect": "Allow",
    "Action": ["cloudformation:DescribeStacks", "logs:FilterLogEvents", "sts:GetCallerIdentity"],
    "Resource": "*",
}


def test_make_verify_goes_through_the_table(installed: Installation, billing: Signer) -> None:
    """An administrator whom a grant admits sees each row of the table, and those that hold here pass."""
    iam = installed.client("iam")
    made = iam.create_policy(
        PolicyName="verify", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [ALLOWED]})
    )
    for policy in (made["Policy"]["Arn"], installed.outputs("admin")["Administrator"]):
        iam.attach_role_policy(RoleName="billing", PolicyArn=policy)
    urls = {"broker": installed.url("public"), "admin": installed.url("admin"), "edge": "http://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-m", "infra.verify", "test", "--region", HOME, "--key", "openai"]
        + [part for name, url in urls.items() for part in (f"--{name}", url)],
        env={
            "PATH": f"{AWS.parent}:{os.environ['PATH']}",
            "AWS_ENDPOINT_URL": installed.endpoint,
            "AWS_PAGER": "",
            **{name.upper(): value for name, value in billing.items()},
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    said = {row.name: next(line[:4].strip() for line in done.stdout.splitlines() if row.name in line) for row in ROWS}
    assert {name: said[name] for name in HOLD_HERE} == dict.fromkeys(HOLD_HERE, "pass"), done.stdout + done.stderr
    assert said["CloudFront runs the function for every call, uncached"] == "FAIL", "nothing serves there"
    assert done.returncode == 1
