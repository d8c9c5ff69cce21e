from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chalicelib.errors import Refusal
from chalicelib.issuers import aws as aws_identity
from chalicelib.policy import compile as policy
from chalicelib.policy import grants
from chalicelib.policy.compile import InvalidPolicyError
from chalicelib.policy.grants import Grant
from tests.parts import DIALECT
from tests.parts import grant as policy_with

VECTORS = json.loads((Path(__file__).resolve().parents[2] / "vectors" / "aws_identities.json").read_text())
ACCOUNT = "123456789012"
TEXTS = {
    "iam_identity_missing": "sign the request with AWS credentials",
    "iam_root": "the account's root user is never let in",
    "iam_unknown_kind": "this kind of AWS principal is not supported",
}


def named(vectors: str) -> list[Any]:
    return [pytest.param(one, id=one["name"]) for one in VECTORS[vectors]]


def session(role: str, *, account: str = ACCOUNT, name: str = "s1") -> dict[str, object]:
    """The claims of a role's session."""
    caller = f"AROAJQABLZS4A3QDU576Q:{name}"
    arn = f"arn:aws:sts::{account}:assumed-role/{role}/{name}"
    identity = {"userArn": arn, "accountId": account, "caller": caller, "user": caller}
    return aws_identity.from_context(identity).claims()


def granted_to(arn: str) -> Grant:
    """The one grant of a policy that is for an AWS principal."""
    return policy.parse(policy_with(to=json.dumps({"aws": arn})), rules=DIALECT).grants["app"]


def admits(arn: str, claims: Mapping[str, object]) -> bool:
    return not grants.differences(granted_to(arn), claims, ())


@pytest.mark.parametrize("vector", named("accepted"))
def test_a_caller_has_one_canonical_arn(vector: dict[str, Any]) -> None:
    found = aws_identity.from_context(vector["identity"])
    assert (found.arn, found.unique_id, found.session) == (vector["arn"], vector["unique_id"], vector["session"])
    assert found.partition == vector["arn"].split(":")[1]
    assert found.account == vector["identity"]["accountId"]
    assert found.claims() == {"aws": vector["arn"], "aws_account": vector["identity"]["accountId"]}


@pytest.mark.parametrize("vector", named("refused"))
def test_what_is_not_plainly_a_role_or_a_user_fails_closed(vector: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refused:
        aws_identity.from_context(vector["identity"])
    wanted = (vector["reason"], "access_denied", 403, TEXTS[vector["reason"]])
    one = refused.value
    assert (one.reason, one.error, one.status, one.description) == wanted


def test_vectors_have_a_name_of_their_own() -> None:
    names = [one["name"] for one in (*VECTORS["accepted"], *VECTORS["refused"])]
    assert len(set(names)) == len(names)


def test_a_session_s_name_makes_no_other_principal() -> None:
    assert session("billing", name="a") == session("billing", name="admin@example.com")


@pytest.mark.parametrize(
    "arn",
    [
        f"arn:aws:iam::{ACCOUNT}:role/billing",
        f"arn:aws-cn:iam::{ACCOUNT}:role/billing",
        f"arn:aws-us-gov:iam::{ACCOUNT}:user/ada",
        f"arn:aws:iam::{ACCOUNT}:role/team/a/billing",
        f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Dev_0123456789abcdef",
        f"arn:aws:iam::{ACCOUNT}:role/*",
        f"arn:aws:iam::{ACCOUNT}:user/team/ada",
        f"arn:aws:iam::{ACCOUNT}:user/*",
        f"arn:aws:sts::{ACCOUNT}:federated-user/bob",
    ],
)
def test_a_grant_may_name_a_role_a_user_or_a_federated_user(arn: str) -> None:
    assert aws_identity.grant_arn_fault(arn) is None
    assert granted_to(arn).issuer == "aws"


@pytest.mark.parametrize(
    ("arn", "allowed"),
    [
        ("", "an ARN of aws, aws-cn, aws-us-gov with its account in full"),
        ("*", "an ARN of aws"),
        ("billing", "an ARN of aws"),
        ("arn:aws:iam::*:role/billing", "an ARN of aws"),
        ("arn:aws:iam::12345678901*:role/billing", "an ARN of aws"),
        ("arn:aws:iam:::role/billing", "an ARN of aws"),
        ("arn:*:iam::123456789012:role/billing", "an ARN of aws"),
        ("arn:aws-iso:iam::123456789012:role/billing", "an ARN of aws"),
        (f"arn:aws:s3::{ACCOUNT}:role/billing", "an ARN of aws"),
        (f"arn:aws:iam::{ACCOUNT}:role/billing\n", "an ARN of aws"),
        (f"arn:aws:iam::{ACCOUNT}:*", "role/name or user/name"),
        (f"arn:aws:iam::{ACCOUNT}:root", "role/name or user/name"),
        (f"arn:aws:iam::{ACCOUNT}:group/admins", "role/name or user/name"),
        (f"arn:aws:iam::{ACCOUNT}:role/", "role/name or user/name"),
        (f"arn:aws:iam::{ACCOUNT}:role/bill*", "role/name or user/name"),
        (f"arn:aws:iam::{ACCOUNT}:role/?", "role/name or user/name"),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/billing/s1", "a role's own ARN"),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/billing/*", "a role's own ARN"),
        (f"arn:aws:sts::{ACCOUNT}:federated-user/*", "a role's own ARN"),
    ],
)
def test_a_grant_for_anything_else_does_not_parse(arn: str, allowed: str) -> None:
    assert allowed in (aws_identity.grant_arn_fault(arn) or "")
    with pytest.raises(InvalidPolicyError) as invalid:
        granted_to(arn)
    assert "grants.app.to.aws" in [fault.field for fault in invalid.value.faults]


@pytest.mark.parametrize(
    ("arn", "role", "expected"),
    [
        ("role/billing", "billing", True),
        ("role/billing", "billing2", False),
        ("role/billing", "Billing", False),
        ("role/team/a/billing", "billing", True),
        ("role/billing/admin", "billing", False),
        ("role/*", "billing", True),
        ("user/billing", "billing", False),
        ("user/*", "billing", False),
    ],
)
def test_a_role_is_compared_by_its_name_without_its_path(arn: str, role: str, expected: bool) -> None:  # noqa: FBT001  the row's verdict
    assert admits(f"arn:aws:iam::{ACCOUNT}:{arn}", session(role)) is expected


@pytest.mark.parametrize("arn", [f"arn:aws:iam::{ACCOUNT}:role/billing", f"arn:aws:iam::{ACCOUNT}:role/*"])
def test_the_account_is_compared_on_its_own_and_first(arn: str) -> None:
    one = granted_to(arn)
    assert one.claims[0] == (("aws_account",), (ACCOUNT,))
    found = grants.differences(one, session("billing", account="210987654321"), ())
    assert [difference.claim for difference in found] == [("aws_account",), ("aws",)]
    # A claim that spells the right ARN does not help if the account is a different one.
    forged = {**session("billing"), "aws_account": "210987654321"}
    assert [difference.claim for difference in grants.differences(one, forged, ())] == [("aws_account",)]


def test_a_partition_is_not_another_s() -> None:
    claims = {"aws": f"arn:aws-cn:iam::{ACCOUNT}:role/billing", "aws_account": ACCOUNT}
    assert not admits(f"arn:aws:iam::{ACCOUNT}:role/billing", claims)
    assert admits(f"arn:aws-cn:iam::{ACCOUNT}:role/billing", claims)


@pytest.mark.parametrize(
    ("arn", "path", "expected"),
    [
        ("user/ada", "ada", True),
        ("user/team/ada", "team/ada", True),
        ("user/a:role/b/ada", "a:role/b/ada", True),
        ("user/ada", "team/ada", False),
        ("user/*", "ada", True),
        ("user/*", "team/ada", False),
        ("role/*", "ada", False),
    ],
)
def test_a_user_is_compared_by_its_whole_arn(arn: str, path: str, expected: bool) -> None:  # noqa: FBT001  the row's verdict
    unique_id = "AIDAJQABLZS4A3QDU576Q"
    full = f"arn:aws:iam::{ACCOUNT}:user/{path}"
    identity = {"userArn": full, "accountId": ACCOUNT, "caller": unique_id, "user": unique_id}
    claims = aws_identity.from_context(identity).claims()
    assert admits(f"arn:aws:iam::{ACCOUNT}:{arn}", claims) is expected


def test_a_federated_user_is_compared_by_its_whole_arn() -> None:
    arn = f"arn:aws:sts::{ACCOUNT}:federated-user/bob"
    assert admits(arn, {"aws": arn, "aws_account": ACCOUNT})
    assert not admits(arn, {"aws": f"{arn}by", "aws_account": ACCOUNT})


@pytest.mark.parametrize(
    ("arn", "bound"),
    [
        (f"arn:aws:iam::{ACCOUNT}:role/billing", f"arn:aws:iam::{ACCOUNT}:role/billing"),
        (f"arn:aws:iam::{ACCOUNT}:role/team/a/billing", f"arn:aws:iam::{ACCOUNT}:role/billing"),
        (f"arn:aws:iam::{ACCOUNT}:user/team/ada", f"arn:aws:iam::{ACCOUNT}:user/team/ada"),
        (f"arn:aws:iam::{ACCOUNT}:user/a:role/b/ada", f"arn:aws:iam::{ACCOUNT}:user/a:role/b/ada"),
        (f"arn:aws:iam::{ACCOUNT}:role/*", None),
        (f"arn:aws:iam::{ACCOUNT}:root", None),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/billing/s1", None),
        (f"arn:aws:sts::{ACCOUNT}:federated-user/bob", None),
        ("arn:aws:iam::1:role/billing", None),
        ("https://ci.example|repository_id:1", None),
        ("", None),
    ],
)
def test_a_role_or_a_user_is_bound_under_its_canonical_arn(arn: str, bound: str | None) -> None:
    assert aws_identity.bindable(arn) == bound


@pytest.mark.parametrize(
    ("kind", "unique_id", "expected"),
    [
        ("role", "AROAJQABLZS4A3QDU576Q", True),
        ("user", "AIDAJQABLZS4A3QDU576Q", True),
        ("role", "AIDAJQABLZS4A3QDU576Q", False),
        ("user", "AROAJQABLZS4A3QDU576Q", False),
        ("role", "AROAJQABLZS4A3QDU576Q:s1", False),
        ("role", "AROAJQABLZS4A3QDU576Q\n", False),
        ("role", "AROA", False),
        ("role", "", False),
    ],
)
def test_a_unique_id_is_of_its_principal_s_kind(kind: str, unique_id: str, expected: bool) -> None:  # noqa: FBT001  the row's verdict
    assert aws_identity.is_unique_id(unique_id, f"arn:aws:iam::{ACCOUNT}:{kind}/x") is expected
