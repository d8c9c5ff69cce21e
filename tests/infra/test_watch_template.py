"""Which changes are told, by rules that are matched here as EventBridge matches them, to events as CloudTrail writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from tests.cloudformation import ACCOUNT, resolved, template

ROLE = f"arn:aws:iam::{ACCOUNT}:role/"
TOLD: Mapping[str, list[tuple[str, dict[str, Any]]]] = {
    "lambda": [
        ("CreateFunction20150331", {"functionName": "keybroker-admin2", "role": f"{ROLE}keybroker-admin"}),
        ("CreateFunction20150331", {"functionName": "report", "role": f"{ROLE}keybroker-public"}),
        ("UpdateFunctionConfiguration20150331v2", {"functionName": "report", "role": f"{ROLE}keybroker-public"}),
        ("UpdateFunctionConfiguration20150331v2", {"functionName": "keybroker-edge"}),
        ("UpdateFunctionCode20150331v2", {"functionName": "keybroker-admin"}),
        ("UpdateFunctionCode20150331v2", {"functionName": f"{ACCOUNT}:function:keybroker-admin"}),
        ("CreateFunctionUrlConfig", {"functionName": "keybroker-admin"}),
        ("UpdateFunctionUrlConfig", {"functionName": "keybroker-admin"}),
        ("CreateAlias20150331", {"functionName": "keybroker-public"}),
        ("UpdateAlias20150331", {"functionName": "keybroker-public"}),
        ("AddPermission20150331v2", {"functionName": "keybroker-public"}),
        ("PutFunctionConcurrency20171031", {"functionName": "keybroker-public"}),
        ("DeleteFunction20150331", {"functionName": "keybroker-public"}),
    ],
    "iam": [
        (name, {"roleName": "keybroker-public"})
        for name in ("CreateRole", "UpdateAssumeRolePolicy", "PutRolePolicy", "DeleteRolePermissionsBoundary")
    ],
    "ecs": [
        ("RegisterTaskDefinition", {"family": "report", "taskRoleArn": f"{ROLE}keybroker-gateway"}),
        ("RegisterTaskDefinition", {"family": "report", "taskRoleArn": "keybroker-broker"}),
        ("RunTask", {"taskDefinition": "report:1", "overrides": {"taskRoleArn": f"{ROLE}keybroker-gateway"}}),
        ("RunTask", {"taskDefinition": "keybroker-gateway:7", "cluster": "other"}),
        ("UpdateService", {"service": "keybroker-gateway", "taskDefinition": "keybroker-gateway:1"}),
        ("UpdateService", {"service": "other", "cluster": "keybroker-gateway", "enableExecuteCommand": True}),
        ("ExecuteCommand", {"cluster": "keybroker-gateway", "task": "1", "command": "/bin/sh", "interactive": True}),
    ],
    "eks": [
        (f"{verb}PodIdentityAssociation", {"serviceAccount": "report", "roleArn": f"{ROLE}keybroker-gateway"})
        for verb in ("Create", "Update")
    ],
    "kms": [
        ("PutKeyPolicy", {"keyId": "1"}),
        ("DisableKey", {"keyId": "1"}),
        ("ScheduleKeyDeletion", {"keyId": "1"}),
        ("CreateGrant", {"keyId": "1", "operations": ["Verify", "Sign"]}),
        ("CreateGrant", {"keyId": "1", "operations": ["Decrypt"]}),
    ],
    "events": [
        *((name, {"name": "keybroker-changes-keys"}) for name in ("PutRule", "DisableRule", "DeleteRule")),
        *((name, {"rule": "keybroker-changes-keys", "ids": ["topic"]}) for name in ("PutTargets", "RemoveTargets")),
    ],
}
"""By AWS's service: the event's name and what was asked."""


def rules(name: str = "watch", **parameters: str) -> Mapping[str, Mapping[str, Any]]:
    found = resolved(template(name), **parameters).items()
    return {name: one["Properties"] for name, one in found if one["Type"] == "AWS::Events::Rule"}


def event(service: str, name: str, request: Mapping[str, Any], **identity: str) -> dict[str, Any]:
    source = f"{service}.amazonaws.com"
    detail = {"eventSource": source, "eventName": name, "requestParameters": request, "userIdentity": identity}
    return {"source": f"aws.{service}", "detail-type": "AWS API Call via CloudTrail", "detail": detail}


def told(happened: Mapping[str, Any]) -> bool:
    return any(matches(rule["EventPattern"], happened) for rule in rules().values())


def matches(pattern: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    for name, want in pattern.items():
        if name == "$or":
            found = any(matches(one, value) for one in want)
        elif isinstance(want, Mapping):
            parts = value.get(name) or {}
            found = any(matches(want, one) for one in (parts if isinstance(parts, list) else [parts]))
        else:
            found = any(_is(one, value.get(name)) for one in want)
        if not found:
            return False
    return True


def _is(want: Any, value: Any) -> bool:  # noqa: ANN401  as EventBridge has them
    if isinstance(value, list):
        return any(_is(want, one) for one in value)
    if isinstance(want, str | bool):
        return bool(want == value)
    ((how, what),) = want.items()
    if how == "exists":
        return (value is not None) is what
    if how == "anything-but":
        return value is not None and value not in what
    assert how in ("prefix", "wildcard"), how
    pattern = ".*".join(map(re.escape, what.split("*"))) if how == "wildcard" else re.escape(what) + ".*"
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


@pytest.mark.parametrize("service", TOLD)
def test_changes_are_told(service: str) -> None:
    """A change of a function, a role, a key or the alarm of Keybroker is told, whatever the event's version."""
    for name, request in TOLD[service]:
        assert told(event(service, name, request, type="AssumedRole")), (name, request)


def test_rules_get_the_events_of_the_trail() -> None:
    """Of a rule that is only ENABLED, AWS's API reference says that events by CloudTrail do not reach it."""
    assert {rule["State"] for rule in rules().values()} == {"ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"}


def test_what_others_do_is_not_told() -> None:
    """An alarm that rings all day is turned off: other functions, rules, and the grants that AWS creates for disks."""
    role = f"{ROLE}report"
    assert not told(event("lambda", "CreateFunction20150331", {"functionName": "report", "role": role}))
    assert not told(event("lambda", "Invoke", {"functionName": "keybroker-public"}))
    assert not told(event("iam", "CreateRole", {"roleName": "report"}))
    assert not told(event("events", "DisableRule", {"name": "report"}))
    scaled = {"service": "keybroker-gateway", "cluster": "keybroker-gateway", "desiredCount": 3}
    assert not told(event("ecs", "UpdateService", scaled))
    assert not told(event("ecs", "RegisterTaskDefinition", {"family": "report", "taskRoleArn": f"{ROLE}report"}))
    assert not told(event("eks", "CreatePodIdentityAssociation", {"roleArn": f"{ROLE}report"}))
    disk = {"keyId": "1", "operations": ["Decrypt"]}
    assert not told(event("kms", "CreateGrant", disk, invokedBy="ec2.amazonaws.com"))
    sign = {"keyId": "1", "operations": ["Sign"]}
    assert told(event("kms", "CreateGrant", sign, invokedBy="states.amazonaws.com"))


def test_the_rules_and_alarms_alone_may_publish() -> None:
    """Every rule and alarm tells the topic, and only these two services may; EventBridge publishes under no condition."""
    assert all(rule["Targets"] == [{"Id": "topic", "Arn": "<Topic>"}] for rule in rules().values())
    assert all(rule["Name"].startswith("keybroker-changes-") for rule in rules().values())
    policy = resolved(template("watch"))["TopicPolicy"]["Properties"]["PolicyDocument"]
    statement, by_alarms = policy["Statement"]
    assert by_alarms["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    alarms = f"arn:aws:cloudwatch:eu-central-1:{ACCOUNT}:alarm:keybroker-*"
    assert by_alarms["Condition"] == {"ArnLike": {"aws:SourceArn": alarms}}
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Resource"] == "<Topic>"
    assert "Condition" not in statement, "AWS: you can't use Condition blocks in SNS topic policies for EventBridge"


def test_who_is_told_is_a_parameter() -> None:
    assert "Subscription" not in resolved(template("watch"))
    subscription = resolved(template("watch"), Email="ops@example.com")["Subscription"]
    assert subscription["Properties"]["Endpoint"] == "ops@example.com"


def test_throttling_is_told() -> None:
    """A table that throttles, or is at its quota, is told where the tables are: reads of control, writes of the others."""
    kind = "AWS::CloudWatch::Alarm"
    alarms = [one["Properties"] for one in resolved(template("watch")).values() if one["Type"] == kind]
    told = {(*(place["Value"] for place in one["Dimensions"]), one["MetricName"]) for one in alarms}
    does = {"keybroker-control": "Read", "keybroker-counters": "Write", "keybroker-ledger": "Write"}
    causes = ("ThrottleEvents", "AccountLimitThrottleEvents")
    of_tables = {(table, what + cause) for table, what in does.items() for cause in causes}
    assert told == of_tables | {("keybroker-ledger", "by_day", "WriteThrottleEvents")}, (
        "an index has metrics of its own"
    )
    assert len(alarms) == 7
    assert all(one["AlarmActions"] == ["<Topic>"] and one["TreatMissingData"] == "notBreaching" for one in alarms)
    assert kind not in {one["Type"] for one in resolved(template("watch"), Home="false").values()}
