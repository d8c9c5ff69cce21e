"""What each role may do and may not, by the text of its policy. An emulator is asked the same in tests/integration/infra.

Conditions on DynamoDB's leading keys and on KMS's algorithm and service are judged here alone: no emulator that starts
without Docker knows them (they fail closed or open there).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import pytest

from tests import cloudformation
from tests.aws_roles import DENIED, DOORS, NEEDED, RoleRequest
from tests.cloudformation import ACCOUNT, REGION
from tests.iam_policy import Policy, allows

ROLES = {"public": "ApiHandlerRole", "admin": "ApiHandlerRole", "edge": "Role", "watcher": "Role", "probe": "Role"}
ARNS = {
    "control": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/keybroker-control",
    "counters": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/keybroker-counters",
    "ledger": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/keybroker-ledger",
    "index": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/keybroker-ledger/index/by_day",
    "other": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/keybroker-other",
    "secret": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:keybroker/openai-AbCdEf",
    "management": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:keybroker.management/openai-AbCdEf",
    "signing": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/signing-a",
    "provider_keys": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/provider-keys",
    "token_iam": f"arn:aws:execute-api:{REGION}:{ACCOUNT}:public1/api/POST/token/iam",
    "admin_api": f"arn:aws:execute-api:{REGION}:{ACCOUNT}:admin1/api/POST/admin/revocations",
    "tables": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/tables",
}
PARAMETERS = {
    "TablesKey": ARNS["tables"],
    "ProviderKeysKey": ARNS["provider_keys"],
    "SigningKeyA": ARNS["signing"],
    "SigningKeyB": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/signing-b",
    "HomeRegion": REGION,
    "Alarms": "all",
    "Api": "public1",
    "Enabled": "true",
}


@functools.cache
def role(door: str) -> dict[str, Any]:
    resources = cloudformation.resolved(cloudformation.template(door), **PARAMETERS)
    found: dict[str, Any] = resources[ROLES[door]]["Properties"]
    return found


def policies(door: str) -> Sequence[Policy]:
    return [one["PolicyDocument"] for one in role(door)["Policies"]]


@pytest.mark.parametrize("ask", NEEDED, ids=str)
def test_what_a_role_needs_it_may_do(ask: RoleRequest) -> None:
    assert allows(policies(ask.role), ask.action, ARNS[ask.on], ask.conditions())


@pytest.mark.parametrize("ask", DENIED, ids=str)
def test_what_a_role_must_not_do_it_may_not(ask: RoleRequest) -> None:
    assert not allows(policies(ask.role), ask.action, ARNS[ask.on], ask.conditions()), ask.what


@pytest.mark.parametrize("door", DOORS)
def test_a_role_has_exactly_its_actions(door: str) -> None:
    tables_key = {"Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo"}
    logs = {"logs:CreateLogStream", "logs:PutLogEvents"} | ({"logs:CreateLogGroup"} if door == "edge" else set())
    needed = {ask.action for ask in NEEDED if ask.role == door} | logs | {f"kms:{one}" for one in tables_key}
    if door == "admin":  # reads of single items, and what makes a secret, are in no list above
        needed |= {"dynamodb:GetItem", "secretsmanager:CreateSecret"}
    if door == "public":
        needed |= {"dynamodb:GetItem"}
    actions = {action for one in policies(door) for statement in one["Statement"] for action in _listed(statement)}
    assert actions - {"dynamodb:BatchGetItem", "dynamodb:Query"} == needed - {"dynamodb:BatchGetItem", "dynamodb:Query"}
    assert not any("*" in action for action in actions)


def _listed(statement: Policy) -> list[str]:
    found = statement["Action"]
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize("door", DOORS)
def test_a_role_is_one_function_s_alone(door: str) -> None:
    (statement,) = role(door)["AssumeRolePolicyDocument"]["Statement"]
    services = statement["Principal"]["Service"]
    assert services == (
        ["lambda.amazonaws.com", "edgelambda.amazonaws.com"] if door == "edge" else "lambda.amazonaws.com"
    )
    ours = "StringEqualsIfExists" if door == "edge" else "StringEquals"
    assert statement["Condition"][ours] == {"aws:SourceAccount": ACCOUNT}
    region = "*" if door in ("edge", "probe") else REGION  # these run in several
    names = [
        f"keybroker-{door}",
        f"keybroker-{door}:*",
    ]  # nothing longer: anybody who deploys may create keybroker-admin2
    if door == "edge":
        names += ["*.keybroker-edge", "*.keybroker-edge:*"]  # replicas
    functions = [f"arn:aws:lambda:{region}:{ACCOUNT}:function:{name}" for name in names]
    assert statement["Condition"]["ArnLikeIfExists"] == {"aws:SourceArn": functions}
    assert role(door)["RoleName"] == f"keybroker-{door}"
    assert role(door).keys() <= {"RoleName", "AssumeRolePolicyDocument", "Policies", "Tags"}  # nothing attached beside


@pytest.mark.parametrize("door", DOORS)
def test_a_boundary_is_put_around_every_role(door: str) -> None:
    """With a permissions boundary, every role of every stack has it."""
    resources = cloudformation.resolved(cloudformation.template(door), **PARAMETERS, PermissionsBoundary="arn-of-it")
    roles = [one["Properties"] for one in resources.values() if one["Type"] == "AWS::IAM::Role"]
    assert [one["PermissionsBoundary"] for one in roles] == ["arn-of-it"] * (2 if door == "admin" else 1)


# who may use a key, whatever the account's policies say


@functools.cache
def key_policies() -> dict[str, Policy]:
    resources = cloudformation.resolved(cloudformation.template("keys"))
    return {name: one["Properties"]["KeyPolicy"] for name, one in resources.items()}


def may(key: str, action: str, principal: str, **context: str) -> bool:
    """Whether a key lets the account's own policies decide on this, for this role."""
    named = {"aws:PrincipalArn": [f"arn:aws:iam::{ACCOUNT}:role/{principal}"]}
    found = {f"kms:{name}": [value] for name, value in context.items()}
    return allows([key_policies()[key]], action, "*", named | found)


@pytest.mark.parametrize("key", ["SigningKeyA", "SigningKeyB"])
def test_nobody_but_the_broker_s_role_may_sign(key: str) -> None:
    assert may(key, "kms:Sign", "keybroker-public", SigningAlgorithm="ECDSA_SHA_256")
    assert not may(key, "kms:Sign", "keybroker-public", SigningAlgorithm="ECDSA_SHA_384")
    for other in ("keybroker-admin", "keybroker-edge", "OrganizationAccountAccessRole"):
        assert not may(key, "kms:Sign", other, SigningAlgorithm="ECDSA_SHA_256")
    assert may(key, "kms:PutKeyPolicy", "OrganizationAccountAccessRole")  # or nobody could ever mend it


@pytest.mark.parametrize("key", ["SigningKeyA", "SigningKeyB", "ProviderKeysKey"])
def test_nobody_may_grant_a_key(key: str) -> None:
    """A grant opens a key beside its policy: nobody may create one before the policy was changed."""
    for one in ("keybroker-public", "keybroker-admin", "keybroker-edge", "OrganizationAccountAccessRole"):
        assert not may(key, "kms:CreateGrant", one)


def test_two_roles_use_the_provider_keys_key() -> None:
    """Only the edge's and the administration's roles may use the key that encrypts provider keys."""
    key, via = "ProviderKeysKey", f"secretsmanager.{REGION}.amazonaws.com"
    assert may(key, "kms:Decrypt", "keybroker-edge", ViaService=via)
    assert may(key, "kms:GenerateDataKey", "keybroker-admin", ViaService=via)
    assert not may(key, "kms:GenerateDataKey", "keybroker-edge", ViaService=via)
    for other in ("keybroker-public", "OrganizationAccountAccessRole"):
        assert not may(key, "kms:Decrypt", other, ViaService=via)
    for one in ("keybroker-edge", "keybroker-admin"):
        assert not may(key, "kms:Decrypt", one)


# the evaluation itself


STATEMENT = {"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::bucket/*"}


@pytest.mark.parametrize(
    ("more", "context", "allowed"),
    [
        ({}, {}, True),
        ({"Effect": "Deny"}, {}, False),
        ({"Action": "S3:getobject"}, {}, True),
        ({"Action": ["s3:PutObject"]}, {}, False),
        ({"Resource": "arn:aws:s3:::bucket"}, {}, False),
        ({"Condition": {"StringEquals": {"k": "v"}}}, {}, False),
        ({"Condition": {"StringEquals": {"k": ["v", "w"]}}}, {"k": ["w"]}, True),
        ({"Condition": {"StringEquals": {"k": "v"}}}, {"k": ["v", "w"]}, False),
        ({"Condition": {"StringNotEquals": {"k": "v"}}}, {}, True),
        ({"Condition": {"ForAllValues:StringLike": {"k": "v*"}}}, {}, True),
        ({"Condition": {"ForAllValues:StringLike": {"k": "v*"}}}, {"k": ["v1", "v2"]}, True),
        ({"Condition": {"ForAllValues:StringLike": {"k": "v*"}}}, {"k": ["v1", "w"]}, False),
        ({"Condition": {"ForAnyValue:StringEquals": {"k": "v"}}}, {}, False),
        ({"Condition": {"ForAnyValue:StringEquals": {"k": "v"}}}, {"k": ["w", "v"]}, True),
        ({"Condition": {"ForAnyValue:StringLike": {"k": "v*"}}}, {}, False),
        ({"Condition": {"ForAnyValue:StringLike": {"k": "v*"}}}, {"k": ["w", "v1"]}, True),
        ({"Condition": {"Null": {"k": "false"}}}, {}, False),
        ({"Condition": {"Null": {"k": "false"}}}, {"k": ["v"]}, True),
        ({"Condition": {"StringEquals": {"k": "v"}, "Null": {"l": "true"}}}, {"k": ["v"], "l": ["x"]}, False),
    ],
)
def test_the_evaluation_knows_iam_s_rules(
    more: dict[str, Any], context: dict[str, list[str]], *, allowed: bool
) -> None:
    policy = {"Statement": [{**STATEMENT, **more}]}
    assert allows([policy], "s3:GetObject", "arn:aws:s3:::bucket/key", context) is allowed


def test_a_deny_stands_against_every_allow() -> None:
    assert not allows(
        [{"Statement": [STATEMENT, {**STATEMENT, "Effect": "Deny"}]}], "s3:GetObject", "arn:aws:s3:::bucket/key"
    )


def test_unknown_policy_elements_fail() -> None:
    """The evaluation fails for policy elements that it does not know."""
    for unknown in ({"NotAction": "s3:*"}, {"Condition": {"Bool": {"k": "true"}}}):
        with pytest.raises(AssertionError, match="does not know"):
            allows([{"Statement": {**STATEMENT, **unknown}}], "s3:GetObject", "arn:aws:s3:::bucket/key")
