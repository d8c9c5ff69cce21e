"""The watcher's template: what there is by choice, who may run it, what is told of signatures and secrets, and what an alarm says."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from chalicelib.aws.watcher import WatcherConfig
from infra import package
from infra.edge.wheels import PYTHON
from tests.alarms import alarms
from tests.cloudformation import ACCOUNT, REGION, resolved, template
from tests.infra.test_watch_template import event, matches, rules
from tests.running import ROOT

ESSENTIAL = {
    "watcher-silent",
    "calls-after-revocation",
    "state-errors",
    "broker-fails",
    "key-past-date",
    "watcher-partial",
}
KEYS = {name: f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{name}" for name in ("SigningKeyA", "SigningKeyB")}
ROLE = f"arn:aws:iam::{ACCOUNT}:role/keybroker-"
EDGES = ("edge", "watcher")


def resources(**parameters: str) -> dict[str, Any]:
    return dict(resolved(template("watcher"), **KEYS, **parameters))


def test_what_costs_is_off_unless_it_is_asked_for() -> None:
    """Without a choice there are three rules, which cost nothing; the function runs for alarms or the dashboard alone."""
    assert {one["Type"] for one in resources().values()} == {"AWS::Events::Rule"}
    assert resources().keys() == {"Signing", "Secrets", "ManagementSecrets"}
    for chosen in ({"Alarms": "essential"}, {"Dashboard": "true"}):
        assert {"Function", "Role", "Schedule", "ScheduleMayRun"} <= resources(**chosen).keys()
    assert set(alarms("watcher")) == set(alarms("watcher", Dashboard="true")) == set()
    assert set(alarms("watcher", Alarms="essential")) == ESSENTIAL
    assert len(alarms("watcher", Alarms="all")) == 12


@pytest.mark.parametrize("name", EDGES)
def test_an_alarm_has_its_runbook(name: str) -> None:
    """Each alarm tells the topic, and its text leads to a section of docs/operate.md that says what to do."""
    page = (ROOT / "docs" / "operate.md").read_text("utf-8")
    for title, one in alarms(name, Alarms="all", Topic="arn:topic").items():
        assert one["AlarmActions"] == ["arn:topic"]
        assert f"docs/operate.md#{title})" in one["AlarmDescription"]
        section = page.partition(f"\n### {title}\n")[2].partition("\n### ")[0].partition("\n## ")[0]
        choice = "Essential" if title in {*ESSENTIAL, "edge-function-fails"} else "All"
        assert section.lstrip().startswith(f"*{choice}"), title
        assert "`" in section, f"{title} has no command"


def test_the_function_is_run_by_its_schedule_alone() -> None:
    """Its role is its own, its permission one rule's, and it has no address; it is the administration's zip."""
    found = resources(Alarms="all", Minutes="1")
    assert found["ScheduleMayRun"]["Properties"] == {
        "FunctionName": "<Function>",
        "Action": "lambda:InvokeFunction",
        "Principal": "events.amazonaws.com",
        "SourceArn": "<Schedule.Arn>",
    }
    assert found["Schedule"]["Properties"]["ScheduleExpression"] == "cron(0/1 * * * ? *)"
    assert found["Schedule"]["Properties"]["Name"].startswith("keybroker-changes-"), "infra/watch.yaml tells of its end"
    assert {one["Type"] for one in found.values()} == {
        "AWS::IAM::Role",
        "AWS::Lambda::Function",
        "AWS::Lambda::Permission",
        "AWS::Events::Rule",
        "AWS::CloudWatch::Alarm",
    }
    function = found["Function"]["Properties"]
    assert (function["Handler"], function["Code"]) == ("chalicelib.aws.watcher.handler", "admin/deployment.zip")


def test_the_function_reads_what_it_is_told() -> None:
    """The variables that the template sets are those that the function reads."""
    for minutes in (*template("watcher")["Parameters"]["Minutes"]["AllowedValues"], 5):
        found = resources(Alarms="all", Minutes=str(minutes))["Function"]["Properties"]["Environment"]["Variables"]
        config = WatcherConfig.read({**{name: str(one) for name, one in found.items()}, "AWS_REGION": REGION})
        control, counters, ledger = (f"keybroker-{name}" for name in ("control", "counters", "ledger"))
        assert config == WatcherConfig(REGION, "keybroker", control, counters, ledger, minutes, 1000, 90)


def test_the_runtime_is_that_of_the_zip() -> None:
    assert f"Runtime: python{PYTHON}\n" in package.template_of_function("watcher")
    assert package.template_of_function("watcher").count("Runtime: ") == 1


SIGNED = {"keyId": KEYS["SigningKeyA"], "signingAlgorithm": "ECDSA_SHA_256"}
SECRET = {"secretId": "keybroker/openai"}


def told(service: str, name: str, request: dict[str, Any], role: str = "", *, key: str = "") -> bool:
    happened = event(service, name, request)
    if role:
        happened["detail"]["userIdentity"] = {"type": "AssumedRole", "sessionContext": {"sessionIssuer": {"arn": role}}}
    if key:
        happened["detail"]["resources"] = [{"ARN": key, "type": "AWS::KMS::Key"}]
    found = rules("watcher", **KEYS).values()
    return any(matches(rule["EventPattern"], happened) for rule in found)


@pytest.mark.parametrize("role", ["public", "broker"])
def test_a_signature_by_anybody_else_is_told(role: str) -> None:
    """A signature with one of our keys by the broker is none of anybody's business; by any other it is told, at any key's half."""
    for key in KEYS.values():
        assert not told("kms", "Sign", SIGNED, ROLE + role, key=key)
        assert told("kms", "Sign", SIGNED, f"{ROLE}{role}2", key=key)
        assert told("kms", "Sign", SIGNED, f"{ROLE}admin", key=key)
        assert told("kms", "Sign", SIGNED, key=key), "an IAM user has no role"
    assert not told("kms", "Sign", SIGNED, f"{ROLE}admin", key=f"arn:aws:kms:{REGION}:{ACCOUNT}:key/another")
    assert not told("kms", "Verify", SIGNED, f"{ROLE}admin", key=KEYS["SigningKeyA"])


@pytest.mark.parametrize("role", ["edge", "gateway"])
def test_a_provider_key_read_by_anybody_else_is_told(role: str) -> None:
    """A provider key is read by edge and gateway; whoever else reads it, by name or ARN, is told."""
    arn = {"secretId": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:keybroker/openai-AbCdEf"}
    for asked in (SECRET, arn):
        assert not told("secretsmanager", "GetSecretValue", asked, ROLE + role)
        assert told("secretsmanager", "GetSecretValue", asked, f"{ROLE}admin")
        assert told("secretsmanager", "GetSecretValue", asked), "an IAM user has no role"
    assert not told("secretsmanager", "GetSecretValue", {"secretId": "keybroker2/openai"}, f"{ROLE}admin")
    assert not told("secretsmanager", "DescribeSecret", SECRET, f"{ROLE}admin")


def test_a_management_key_read_by_anybody_else_is_told() -> None:
    """A key that makes provider keys is read by the administration; whoever else reads it, the edge included, is told."""
    arn = {"secretId": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:keybroker.management/openai-AbCdEf"}
    for asked in ({"secretId": "keybroker.management/openai"}, arn):
        assert not told("secretsmanager", "GetSecretValue", asked, f"{ROLE}admin")
        assert told("secretsmanager", "GetSecretValue", asked, f"{ROLE}edge")
        assert told("secretsmanager", "GetSecretValue", asked), "an IAM user has no role"


def test_the_rules_tell_the_topic_of_what_cloudtrail_has() -> None:
    for one in rules("watcher", Topic="arn:topic", **KEYS).values():
        assert one["Targets"] == [{"Id": "topic", "Arn": "arn:topic"}]
        assert one["State"] == "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
        assert len(json.dumps(one["EventPattern"])) < 2048


def test_the_dashboard_shows_the_metrics_that_there_are() -> None:
    """Its body is JSON, each widget within 24 columns and with a region, and what it names of ours is what is printed."""
    board = resources(Dashboard="true", DistributionId="E1")["Board"]["Properties"]
    widgets = json.loads(board["DashboardBody"])["widgets"]
    assert board["DashboardName"] == "keybroker"
    assert all(one["x"] + one["width"] <= 24 and one["properties"]["region"] for one in widgets)
    text = json.dumps(widgets)
    ours = set(re.findall(r'"Keybroker", "(\w+)"', text)) | set(re.findall(r'MetricName=\\+"(\w+)', text))
    source = "".join((ROOT / "chalicelib" / name).read_text() for name in ("admin/watching.py", "aws/cloudwatch.py"))
    assert ours
    assert all(f'"{name}"' in source for name in ours)
    assert "principal" not in {
        word for one in widgets if one["type"] == "metric" for word in json.dumps(one).split('"')
    }
