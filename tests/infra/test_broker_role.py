"""The role of a stage's broker as a server: what the public function's may do, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests import cloudformation
from tests.aws_roles import DENIED, NEEDED, RoleRequest
from tests.cloudformation import ACCOUNT
from tests.iam_policy import allows
from tests.infra.test_least_privilege import ARNS, PARAMETERS, policies

BROKERS = [ask for ask in NEEDED if ask.role == "public"]
NOT_BROKERS = [ask for ask in DENIED if ask.role == "public"]


def role(**parameters: str) -> Mapping[str, Any]:
    found = cloudformation.resolved(cloudformation.template("broker-role"), **PARAMETERS, **parameters)
    properties: Mapping[str, Any] = found["Role"]["Properties"]
    return properties


@pytest.mark.parametrize("ask", BROKERS, ids=str)
def test_what_the_broker_needs_its_server_may(ask: RoleRequest) -> None:
    """The server's role may do what the function's may."""
    mine = [one["PolicyDocument"] for one in role()["Policies"]]
    assert allows(mine, ask.action, ARNS[ask.on], ask.conditions())


@pytest.mark.parametrize("ask", NOT_BROKERS, ids=str)
def test_what_the_broker_may_not_its_server_may_not(ask: RoleRequest) -> None:
    """The server's role may do nothing that the function's may not: it reads no provider key, and writes no policy."""
    mine = [one["PolicyDocument"] for one in role()["Policies"]]
    assert not allows(mine, ask.action, ARNS[ask.on], replace(ask, role="broker").conditions()), ask.what


def test_its_statements_are_the_function_s() -> None:
    """But for the log, and where its measurements are kept, its policy is the public function's, statement by statement."""
    (mine,), (theirs,) = role()["Policies"], policies("public")
    wanted = [one for one in theirs["Statement"] if one["Sid"] != "WriteItsLog"]
    found = [one for one in mine["PolicyDocument"]["Statement"] if one["Sid"] != "KeepMeasurements"]
    assert found == wanted


def test_its_measurements_are_all_it_counts() -> None:
    """Of the counters its role writes the measurements' partition alone: nobody's calls."""
    mine = [one["PolicyDocument"] for one in role()["Policies"]]
    for keys, may in (
        (("probe",), True),
        (("calls#app#alice",), False),
        (("probe", "calls#app#alice"), False),
        ((), False),
    ):
        context = {"dynamodb:LeadingKeys": keys} if keys else {}
        assert allows(mine, "dynamodb:UpdateItem", ARNS["counters"], context) is may, keys


@pytest.mark.parametrize(
    ("runs_on", "service"), [("fargate", "ecs-tasks.amazonaws.com"), ("eks", "pods.eks.amazonaws.com")]
)
def test_only_this_account_s_servers_become_it(runs_on: str, service: str) -> None:
    """The role is for one service, on behalf of this account alone, within a boundary if there is one."""
    found = role(RunsOn=runs_on, PermissionsBoundary="arn-of-it")
    (statement,) = found["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": service}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
    assert (found["RoleName"], found["PermissionsBoundary"]) == ("keybroker-broker", "arn-of-it")


def test_the_signing_keys_are_a_server_s_only_if_asked() -> None:
    """Both keys that sign know the server's role only where there is one."""

    def signers(**parameters: str) -> list[list[str]]:
        found = cloudformation.resolved(cloudformation.template("keys"), **parameters)
        policies = [found[name]["Properties"]["KeyPolicy"]["Statement"] for name in ("SigningKeyA", "SigningKeyB")]
        signs = [next(one for one in statements if one["Sid"] == "BrokerSigns") for statements in policies]
        return [[arn.rpartition("/")[2] for arn in one["Condition"]["ArnEquals"]["aws:PrincipalArn"]] for one in signs]

    assert signers() == [["keybroker-public"]] * 2
    assert signers(Broker="true", Gateway="true") == [["keybroker-public", "keybroker-broker"]] * 2
