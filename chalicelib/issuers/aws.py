"""AWS principals: what API Gateway's IAM authorizer says of a caller, in one canonical form.

Source: IAM User Guide, "IAM identifiers" and "Policy elements: Principal". A session's name is chosen by the caller who
assumes the role and a role's path is lost in its sessions' ARNs: neither is ever matched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.issuers.errors import IamIdentityMissing, IamRoot, IamUnknownKind

PARTITIONS = ("aws", "aws-cn", "aws-us-gov")
_NAME = r"[\w+=,.@-]{1,128}"
_ARN = re.compile(rf"arn:({'|'.join(PARTITIONS)}):(iam|sts)::(\d{{12}}):(.+)", re.ASCII)
_USER = re.compile(rf"user/(?:[\x21-\x7e]{{1,512}}/)?({_NAME})", re.ASCII)
_SESSION = re.compile(rf"assumed-role/({_NAME})/({_NAME})", re.ASCII)
_FEDERATED = re.compile(rf"federated-user/({_NAME})", re.ASCII)
_ROLE_OR_USER = re.compile(rf"(role|user)/((?:[\x21-\x29\x2b-\x7e]{{1,512}}/)?)({_NAME}|\*)", re.ASCII)
_ROLE_ID = re.compile(r"AROA[A-Z0-9]{12,28}")
_USER_ID = re.compile(r"AIDA[A-Z0-9]{12,28}")


@dataclass(frozen=True, slots=True)
class AwsIdentity:
    """A caller that API Gateway authenticated by IAM."""

    partition: str
    """`aws`, `aws-cn` or `aws-us-gov`."""
    account: str
    """The account's twelve digits."""
    arn: str
    """Canonical: of the role, without its path, rather than of the session."""
    unique_id: str
    """IAM's id, which is never recycled: AROA… or AIDA…; `account:name` for a federated user."""
    session: str
    """The session's name, for the log only."""

    def claims(self) -> dict[str, object]:
        """Return the claims that grants match. The account is a claim of its own, so that it is compared on its own."""
        return {"aws": self.arn, "aws_account": self.account}


def from_context(identity: Mapping[str, object]) -> AwsIdentity:
    """Read `requestContext.identity`; raises IamIdentityMissing, IamRoot or IamUnknownKind."""
    # SECURITY: only API Gateway's authorizer fills these; a route deployed without it has none and fails closed
    # (test_aws.py).
    names = ("userArn", "accountId", "caller", "user")
    arn, account, caller, user = (value if isinstance(value := identity.get(name), str) else "" for name in names)
    match = _ARN.fullmatch(arn)
    if not match or not caller or not user or match[3] != account:
        raise IamIdentityMissing
    partition, service, _, resource = match.groups()
    unique_id, _, session = caller.partition(":")
    if service == "sts" and (assumed := _SESSION.fullmatch(resource)) and _ROLE_ID.fullmatch(unique_id):
        return AwsIdentity(partition, account, f"arn:{partition}:iam::{account}:role/{assumed[1]}", unique_id, session)
    if service == "iam" and _USER.fullmatch(resource) and _USER_ID.fullmatch(caller):
        return AwsIdentity(partition, account, arn, unique_id, "")
    if service == "sts" and (federated := _FEDERATED.fullmatch(resource)) and caller == f"{account}:{federated[1]}":
        # A federated user has no id but its account and name, which the creator of the session chose.
        return AwsIdentity(partition, account, arn, caller, "")
    if resource == "root":
        raise IamRoot
    raise IamUnknownKind


def grant_arn_fault(arn: str) -> str | None:
    """Return what a grant's `aws` has to be; None if it is that already."""
    match = _ARN.fullmatch(arn)
    if not match:
        return f"an ARN of {', '.join(PARTITIONS)} with its account in full: arn:aws:iam::123456789012:role/name"
    if match[2] == "sts":
        return (
            None if _FEDERATED.fullmatch(match[4]) else "a role's own ARN (arn:aws:iam::…:role/name), not a session's"
        )
    if not _ROLE_OR_USER.fullmatch(match[4]):
        return "role/name or user/name; `*` stands for a whole name, never in the account"
    return None


def without_role_path(arn: str) -> str:
    """Return a role's ARN without its path, which sessions do not carry; names are unique whatever the path."""
    *head, resource = arn.split(":", 5)  # a user's path may hold colons, and `role/` too
    return ":".join((*head, f"role/{resource.rpartition('/')[2]}")) if resource.startswith("role/") else arn


def bindable(arn: str) -> str | None:
    """Return the canonical form of a role's or user's own ARN, under which it is bound to a unique id; else None.

    Federated users have no unique id.
    """
    match = _ARN.fullmatch(arn)
    named = _ROLE_OR_USER.fullmatch(match[4]) if match and match[2] == "iam" else None
    return without_role_path(arn) if named and named[3] != "*" else None


def is_unique_id(text: str, arn: str) -> bool:
    """Whether text is a unique id of this ARN's kind: AROA… of a role, AIDA… of a user."""
    form = _ROLE_ID if arn.split(":", 5)[-1].startswith("role/") else _USER_ID
    return form.fullmatch(text) is not None
