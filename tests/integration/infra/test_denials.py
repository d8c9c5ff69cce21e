"""Each role tries what it must not do, with real requests under its real policy; and what it needs it may do.

What rests on a condition that ministack does not judge is not asked here but in tests/infra/test_least_privilege.py: those are
told apart by the policy's text, and listed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws_roles import DENIED, NEEDED, RoleRequest
from tests.iam_policy import allows
from tests.infra.test_least_privilege import ARNS, policies
from tests.integration.infra.installation import ACCOUNT, HOME, PREFIX, Installation, Signer, judged

pytestmark = pytest.mark.usefixtures("administrator")

_ITEM = {"pk": {"S": "x"}, "sk": {"S": "-"}}
_DYNAMODB: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "GetItem": lambda table: {"TableName": table, "Key": _ITEM},
    "BatchGetItem": lambda table: {"RequestItems": {table: {"Keys": [_ITEM]}}},
    "Query": lambda table: {
        "TableName": table,
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": "x"}},
    },
    "Scan": lambda table: {"TableName": table},
    "PutItem": lambda table: {"TableName": table, "Item": _ITEM},
    "UpdateItem": lambda table: {"TableName": table, "Key": _ITEM},
    "DeleteItem": lambda table: {"TableName": table, "Key": _ITEM},
    "UpdateTable": lambda table: {"TableName": table, "DeletionProtectionEnabled": False},
    "DeleteTable": lambda table: {"TableName": table},
    "UpdateContinuousBackups": lambda table: {
        "TableName": table,
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": False},
    },
}
_SECRET = {"SecretId": f"{PREFIX}/openai"}
_SECRETS: Mapping[str, dict[str, Any]] = {
    "GetSecretValue": _SECRET,
    "PutSecretValue": {**_SECRET, "SecretString": "another", "ClientRequestToken": "a" * 32},
    "ListSecretVersionIds": _SECRET,
    "DeleteSecret": _SECRET,
    "DescribeSecret": _SECRET,
}
_KMS: Mapping[str, dict[str, Any]] = {
    "Sign": {"Message": b"0" * 32, "MessageType": "DIGEST", "SigningAlgorithm": "ECDSA_SHA_256"},
    "GetPublicKey": {},
    "DisableKey": {},
    "ScheduleKeyDeletion": {"PendingWindowInDays": 7},
    "PutKeyPolicy": {"PolicyName": "default", "Policy": "{}"},
    "CreateGrant": {"GranteePrincipal": f"arn:aws:iam::{ACCOUNT}:root", "Operations": ["Decrypt"]},
    "Decrypt": {"CiphertextBlob": b"0" * 64},
}
_KEYS = {
    "signing": ("keys", "SigningKeyA"),
    "provider_keys": ("keys", "ProviderKeysKey"),
    "tables": ("tables", "KeyArn"),
}


_ROUTES = ("token_iam", "admin_api")
"""Asked of API Gateway, not of an AWS API: by the policy's text alone, in tests/infra/test_least_privilege.py."""
_DENIED = ("AccessDenied", "AccessDeniedException")


def is_judged(ask: RoleRequest) -> bool:
    """Whether it would be denied without the conditions that ministack does not know."""
    bare = [judged(one) for one in policies(ask.role)]
    return not allows(bare, ask.action, ARNS[ask.on], ask.conditions())


@functools.cache
def signer(installed: Installation, role: str) -> Signer:
    return installed.signer(f"{PREFIX}-{role}")


def attempt(installed: Installation, ask: RoleRequest) -> None:
    """Do it, as that role; raises ClientError."""
    service, _, action = ask.action.partition(":")
    client = installed.client(service, HOME, signer(installed, ask.role))
    method = getattr(client, "".join(f"_{char.lower()}" if char.isupper() else char for char in action).lstrip("_"))
    if service == "dynamodb":
        method(**_DYNAMODB[action](f"{PREFIX}-{ask.on}"))
    elif service == "secretsmanager":
        elsewhere = {"SecretId": f"{PREFIX}.management/openai"} if ask.on == "management" else {}
        method(**{**_SECRETS[action], **elsewhere})
    else:
        stack, output = _KEYS[ask.on]
        named = {} if action == "Decrypt" else _KMS[action]
        if action == "Decrypt":  # a real ciphertext, made with the emulator's administrator credentials
            named = {"CiphertextBlob": _encrypted(installed, installed.outputs(stack)[output])}
        method(KeyId=installed.outputs(stack)[output], **named)


@functools.cache
def _encrypted(installed: Installation, key: str) -> bytes:
    found: bytes = installed.client("kms").encrypt(KeyId=key, Plaintext=b"a secret")["CiphertextBlob"]
    return found


@pytest.mark.parametrize("ask", [one for one in DENIED if is_judged(one) and one.on not in _ROUTES], ids=str)
def test_it_is_denied(installed: Installation, ask: RoleRequest) -> None:
    with pytest.raises(ClientError) as refused:
        attempt(installed, ask)
    assert refused.value.response["Error"]["Code"] in _DENIED, refused.value


_TRIED = {"dynamodb:ConditionCheckItem"}
"""An action of transactions alone: test_deployed.py puts a policy in force by it."""


@pytest.mark.parametrize(
    "ask", [one for one in NEEDED if one.action not in _TRIED and one.on not in ("index", *_ROUTES)], ids=str
)
def test_what_is_needed_is_allowed(installed: Installation, ask: RoleRequest) -> None:
    code = ""
    try:
        attempt(installed, ask)
    except ClientError as fault:  # a key that is not there, say: what matters is that it was looked for
        code = fault.response["Error"]["Code"]
    assert code not in _DENIED


def test_what_is_not_asked_here_rests_on_a_condition_that_is_not_judged_here() -> None:
    left = {(one.role, one.action, one.on) for one in DENIED if not is_judged(one)}
    writes = {"dynamodb:PutItem", "dynamodb:UpdateItem"}
    assert left == {
        *(("public", action, "control") for action in writes),
        *(("public", action, "ledger") for action in writes),
        *(("admin", action, "ledger") for action in writes),
        *(("admin", action, "control") for action in (*writes, "dynamodb:DeleteItem")),
        ("public", "kms:Sign", "signing"),  # with another algorithm
        *(("watcher", f"dynamodb:{action}", "ledger") for action in ("BatchGetItem", "Query")),
        ("probe", "dynamodb:UpdateItem", "counters"),
    }
