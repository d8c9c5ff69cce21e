from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chalicelib.issuers import aws as aws_identity
from chalicelib.policy import compile as policy
from chalicelib.policy import grants
from chalicelib.policy.compile import InvalidPolicyError
from chalicelib.policy.grants import Grant
from tests.parts import DIALECT
from tests.parts import grant as policy_with
from tests.refused import refused

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
def test_canonical_arn(vector: dict[str, Any]) -> None:
    """A caller has one canonical ARN, whatever its session or path."""
    found = aws_identity.from_context(vector["identity"])
    assert (found.arn, found.unique_id, found.session) == (vector["arn"], vector["unique_id"], vector["session"])
    assert found.partition == vector["arn"].split(":")[1]
    assert found.account == vector["identity"]["accountId"]
    assert found.claims() == {"aws": vector["arn"], "aws_account": vector["identity"]["accountId"]}


@pytest.mark.parametrize("vector", named("refused"))
def test_other_identities(vector: dict[str, Any]) -> None:
    """What is not plainly a role or a user is refused."""
    one = refused(lambda: aws_identity.from_context(vector["identity"]))
    wanted = (vector["reason"], "access_denied", 403, TEXTS[vector["reason"]])
    assert (one.reason, one.error, one.status, one.description) == wanted


def test_vector_names() -> None:
    """Each vector has a name of its own."""
    names = [one["name"] for one in (*VECTORS["accepted"], *VECTORS["refused"])]
    assert len(set(names)) == len(names)


def test_session_name() -> None:
    """A session's name does not make another principal."""
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
def test_grant_arn(arn: str) -> None:
    """A grant may name a role, a user or a federated user."""
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
def test_other_grant_arn(arn: str, allowed: str) -> None:
    """A grant for any other ARN does not parse."""
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
def test_role_path(arn: str, role: str, expected: bool) -> None:  # noqa: FBT001  the row's verdict
    """A role is compared by its name, without its path."""
    assert admits(f"arn:aws:iam::{ACCOUNT}:{arn}", session(role)) is expected


@pytest.mark.parametrize("arn", [f"arn:aws:iam::{ACCOUNT}:role/billing", f"arn:aws:iam::{ACCOUNT}:role/*"])
def test_account(arn: str) -> None:
    """The account is compared on its own, and first."""
    one = granted_to(arn)
    assert one.claims[0] == (("aws_account",), (ACCOUNT,))
    found = grants.differences(one, session("billing", account="210987654321"), ())
    assert [difference.claim for difference in found] == [("aws_account",), ("aws",)]
    # A claim that spells the right ARN does not help if the account is a different one.
    forged = {**session("billing"), "aws_account": "210987654321"}
    assert [difference.claim for difference in grants.differences(one, forged, ())] == [("aws_account",)]


def test_partition() -> None:
    """A role of one partition is not the same role of another."""
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
def test_user_arn(arn: str, path: str, expected: bool) -> None:  # noqa: FBT001  the row's verdict
    """A user is compared by its whole ARN."""
    unique_id = "AIDAJQABLZS4A3QDU576Q"
    full = f"arn:aws:iam::{ACCOUNT}:user/{path}"
    identity = {"userArn": full, "accountId": ACCOUNT, "caller": unique_id, "user": unique_id}
    claims = aws_identity.from_context(identity).claims()
    assert admits(f"arn:aws:iam::{ACCOUNT}:{arn}", claims) is expected


def test_federated_user_arn() -> None:
    """A federated user is compared by its whole ARN."""
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
def test_bindable(arn: str, bound: str | None) -> None:
    """A role or a user is bound under its canonical ARN; nothing else is."""
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
def test_unique_id(kind: str, unique_id: str, expected: bool) -> None:  # noqa: FBT001  the row's verdict
    """A unique id is AROA… for a role and AIDA… for a user."""
    assert aws_identity.is_unique_id(unique_id, f"arn:aws:iam::{ACCOUNT}:{kind}/x") is expected
