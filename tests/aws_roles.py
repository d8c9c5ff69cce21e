"""The five roles: what each needs, and what none may do; checked against the templates and an emulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.iam_policy import Context

DOORS = ("public", "admin", "edge", "watcher", "probe")


@dataclass(frozen=True)
class RoleRequest:
    """Something that a role tries. on: a table's last name, `index`, `secret`, `signing`, `provider_keys`, `tables` or a route.

    keys: partition keys of the items. context: other condition keys. what: what that would be.
    """

    role: str
    action: str
    on: str
    keys: tuple[str, ...] = ()
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    what: str = ""

    def __str__(self) -> str:
        return f"{self.role}-{self.action}-{self.on}-{','.join(self.keys)}".replace(":", "_")

    def conditions(self) -> Context:
        """Return the condition keys of the request."""
        return {**self.context, **({"dynamodb:LeadingKeys": self.keys} if self.keys else {})}


_ES256 = {"kms:SigningAlgorithm": ("ECDSA_SHA_256",)}

NEEDED = (
    RoleRequest("public", "dynamodb:BatchGetItem", "control", ("everything#*#0", "key#openai#0")),
    RoleRequest("public", "dynamodb:Query", "control", ("grants#https://ci.example.com#openai",)),
    RoleRequest("public", "dynamodb:GetItem", "control", ("signing",)),
    RoleRequest("public", "dynamodb:UpdateItem", "control", ("token#id-1",), what="a holder takes a token back"),
    RoleRequest("public", "dynamodb:PutItem", "control", ("revocations#holders",), what="and that is recorded"),
    RoleRequest("public", "dynamodb:BatchGetItem", "ledger", ("tokens#alice",)),
    RoleRequest("public", "dynamodb:BatchGetItem", "counters", ("calls#app#alice",)),
    RoleRequest("public", "dynamodb:Query", "counters", ("answers#app#alice",)),
    RoleRequest("public", "dynamodb:PutItem", "ledger", ("audit#2026-11#0",)),
    RoleRequest("public", "dynamodb:PutItem", "ledger", ("lock#0",)),
    RoleRequest("public", "dynamodb:UpdateItem", "ledger", ("tokens#alice",)),
    RoleRequest("public", "dynamodb:UpdateItem", "ledger", ("pin#arn",)),
    RoleRequest("public", "kms:Sign", "signing", context=_ES256),
    RoleRequest("public", "kms:GetPublicKey", "signing"),
    RoleRequest("admin", "dynamodb:PutItem", "control", ("policy#1",)),
    RoleRequest("admin", "dynamodb:UpdateItem", "control", ("everything#*#0",)),
    RoleRequest("admin", "dynamodb:DeleteItem", "control", ("grants#https://ci.example.com#openai",)),
    RoleRequest("admin", "dynamodb:ConditionCheckItem", "control", ("policy#lead#0",)),
    RoleRequest("admin", "dynamodb:PutItem", "ledger", ("audit#2026-11#0",)),
    RoleRequest("admin", "dynamodb:UpdateItem", "ledger", ("pin#arn",)),
    RoleRequest("admin", "dynamodb:Query", "ledger", ("audit#2026-11#0",)),
    RoleRequest("admin", "dynamodb:Query", "index"),
    RoleRequest("admin", "dynamodb:BatchGetItem", "counters", ("calls#app#alice",)),
    RoleRequest("admin", "dynamodb:Query", "counters", ("answers#app#alice",)),
    RoleRequest("admin", "secretsmanager:PutSecretValue", "secret"),
    RoleRequest("admin", "secretsmanager:PutSecretValue", "management"),
    RoleRequest("admin", "secretsmanager:GetSecretValue", "management"),
    RoleRequest("edge", "dynamodb:BatchGetItem", "control", ("everything#*#0",)),
    RoleRequest("edge", "dynamodb:GetItem", "control", ("signing",)),
    RoleRequest("edge", "dynamodb:UpdateItem", "counters", ("calls#app#alice",)),
    RoleRequest("edge", "dynamodb:BatchGetItem", "counters", ("calls#app#alice",)),
    RoleRequest("edge", "secretsmanager:GetSecretValue", "secret"),
    RoleRequest("watcher", "dynamodb:BatchGetItem", "control", ("key#openai#0",)),
    RoleRequest("watcher", "dynamodb:GetItem", "control", ("policy",)),
    RoleRequest("watcher", "dynamodb:Query", "control", ("policy#names",)),
    RoleRequest("watcher", "dynamodb:Query", "index"),
    RoleRequest("watcher", "dynamodb:BatchGetItem", "ledger", ("tokens#alice",)),
    RoleRequest("watcher", "dynamodb:Query", "ledger", ("tokens#alice",)),
    RoleRequest("watcher", "dynamodb:BatchGetItem", "counters", ("calls#app#alice",)),
    RoleRequest("watcher", "dynamodb:Query", "counters", ("calls#app#alice",)),
    RoleRequest("probe", "dynamodb:UpdateItem", "counters", ("probe",), what="whose turn it is, and what was measured"),
    RoleRequest("probe", "execute-api:Invoke", "token_iam", what="a token, as any caller's"),
)
"""Without any of these, something that is promised does not work."""

_WRITES = ("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem")
_OF_ADMINISTRATORS = {
    "policy#2": "a policy's text",
    "policy": "which policy is in force",
    "grant#app#0": "a grant",
    "grants#https://ci.example.com#openai": "a grant among its candidates",
    "everything#*#0": "which signing keys are live",
    "key#openai#0": "which provider key is in force",
    "principal#alice": "a revocation",
    "revocations": "the record of a revocation",
    "signing": "a public key to verify tokens with",
}

DENIED = (
    # Nobody but the administration reads what makes provider keys.
    *(
        RoleRequest(role, "secretsmanager:GetSecretValue", "management", what="what makes provider keys")
        for role in ("public", "edge", "watcher")
    ),
    # Nobody but the edge reads a provider key, and the edge does nothing else with it.
    *(
        RoleRequest(role, action, "secret", what="a provider key's value")
        for role, action in (
            ("public", "secretsmanager:GetSecretValue"),
            ("admin", "secretsmanager:GetSecretValue"),
            ("public", "secretsmanager:PutSecretValue"),
            ("edge", "secretsmanager:PutSecretValue"),
            ("edge", "secretsmanager:ListSecretVersionIds"),
            ("admin", "secretsmanager:DeleteSecret"),
            ("edge", "secretsmanager:DeleteSecret"),
            ("public", "secretsmanager:DescribeSecret"),
            ("watcher", "secretsmanager:GetSecretValue"),
            ("watcher", "secretsmanager:PutSecretValue"),
            ("watcher", "secretsmanager:DescribeSecret"),
            ("watcher", "secretsmanager:ListSecretVersionIds"),
            ("probe", "secretsmanager:GetSecretValue"),
            ("probe", "secretsmanager:PutSecretValue"),
        )
    ),
    # The public broker, the edge and the watcher write neither policy, revocations nor keys.
    *(
        RoleRequest(role, action, "control", (key,), what=what)
        for role in ("public", "edge", "watcher", "probe")
        for key, what in _OF_ADMINISTRATORS.items()
        for action in _WRITES
    ),
    *(
        RoleRequest(role, action, "control", ("token#id-1",), what="a token taken back")
        for role in ("edge", "probe")
        for action in _WRITES
    ),
    *(RoleRequest("admin", action, "control", ("signing",), what="a key that KMS does not hold") for action in _WRITES),
    RoleRequest("public", "dynamodb:DeleteItem", "control", ("token#id-1",), what="a revocation of a token"),
    RoleRequest("public", "dynamodb:UpdateItem", "control", ("token#id-1", "policy"), what="a policy beside a token"),
    RoleRequest("public", "dynamodb:PutItem", "control", what="a write whose keys are not known"),
    # The edge knows nothing of audit and replay locks, and nobody deletes from either.
    *(
        RoleRequest("edge", f"dynamodb:{action}", "ledger", (key,), what="audit or replay lock")
        for action in ("GetItem", "BatchGetItem", "Query", "Scan", "PutItem", "UpdateItem", "DeleteItem")
        for key in ("audit#2026-11#0", "lock#0")
    ),
    *(
        RoleRequest(role, "dynamodb:DeleteItem", "ledger", (key,), what="a record")
        for role in ("public", "admin")
        for key in ("audit#2026-11#0", "lock#0", "pin#arn")
    ),
    *(
        RoleRequest("admin", action, "ledger", (key,), what="a lock or a count of the public broker's")
        for action in ("dynamodb:PutItem", "dynamodb:UpdateItem")
        for key in ("lock#0", "tokens#alice")
    ),
    # The chain of hashes over the audit is written by its own function alone.
    *(
        RoleRequest(role, action, "ledger", (key,), what="a digest that fits an event that was changed")
        for role in DOORS
        for action in _WRITES
        for key in ("chain#audit", "chain#export")
    ),
    RoleRequest("public", "dynamodb:PutItem", "ledger", ("tokens#alice", "chain#audit"), what="one beside a count"),
    # The watcher reads who calls how often, and neither audit nor locks; it writes nothing at all.
    *(
        RoleRequest("watcher", f"dynamodb:{action}", "ledger", (key,), what="audit or replay lock")
        for action in ("GetItem", "BatchGetItem", "Query")
        for key in ("audit#2026-11#0", "lock#0", "pin#arn")
    ),
    *(
        RoleRequest("watcher", action, "ledger", (key,), what="a record, or a count of tokens")
        for action in _WRITES
        for key in ("audit#2026-11#0", "lock#0", "tokens#alice")
    ),
    # The probe is a caller: it asks nobody else's API, and reads and writes nothing but its own result.
    *(
        RoleRequest("probe", f"dynamodb:{action}", table, (key,), what="what it does not need")
        for action in ("GetItem", "BatchGetItem", "Query", "Scan", "PutItem", "UpdateItem", "DeleteItem")
        for table, key in (("ledger", "audit#2026-11#0"), ("control", "policy"), ("counters", "calls#app#alice"))
    ),
    RoleRequest("probe", "dynamodb:UpdateItem", "counters", ("probe", "calls#app#alice"), what="a count beside it"),
    RoleRequest("probe", "dynamodb:UpdateItem", "counters", what="a write whose keys are not known"),
    RoleRequest("probe", "execute-api:Invoke", "admin_api", what="a revocation of anybody"),
    # Counters are the edge's, who adds to them and cannot take them away.
    *(
        RoleRequest(role, action, "counters", ("calls#app#alice",), what="a count of calls")
        for role in ("public", "admin", "watcher")
        for action in _WRITES
    ),
    RoleRequest("public", "dynamodb:Scan", "counters", what="who calls how often"),
    RoleRequest("edge", "dynamodb:DeleteItem", "counters", ("calls#app#alice",), what="a quota that begins anew"),
    RoleRequest("edge", "dynamodb:PutItem", "counters", ("calls#app#alice",), what="the same"),
    # Nobody reads a table from end to end, touches another one, or the tables themselves.
    *(
        RoleRequest(role, f"dynamodb:{action}", on, what="another table, or the table itself")
        for role in DOORS
        for on, action in (
            ("control", "Scan"),
            ("other", "GetItem"),
            ("other", "PutItem"),
            ("control", "UpdateTable"),
            ("control", "DeleteTable"),
            ("ledger", "UpdateContinuousBackups"),
        )
    ),
    # The broker signs and nothing else; nobody does anything to a key.
    *(
        RoleRequest(role, "kms:Sign", "signing", context=_ES256, what="a token of anybody")
        for role in ("admin", "edge", "watcher", "probe")
    ),
    RoleRequest(
        "public", "kms:Sign", "signing", context={"kms:SigningAlgorithm": ("ECDSA_SHA_384",)}, what="another algorithm"
    ),
    RoleRequest("public", "kms:Sign", "provider_keys", context=_ES256, what="with another key"),
    *(
        RoleRequest(role, f"kms:{action}", on, what="a key itself")
        for role in DOORS
        for on in ("signing", "provider_keys", "tables")
        for action in ("DisableKey", "ScheduleKeyDeletion", "PutKeyPolicy", "CreateGrant")
    ),
    # A key is used by the service that keeps what it encrypts, never directly.
    *(RoleRequest(role, "kms:Decrypt", "provider_keys", what="a secret's text that was copied") for role in DOORS),
    *(RoleRequest(role, "kms:Decrypt", "tables", what="a backup that was copied") for role in DOORS),
)
"""What none of them may do, even if an attacker has taken the function over."""
