"""The audit's template: what there is by choice, and what its role may do and must not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from chalicelib.aws.audit_function import AuditConfig
from infra import package
from infra.edge.wheels import PYTHON
from tests.cloudformation import ACCOUNT, REGION, resolved, template
from tests.iam_policy import Context, allows

TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/keybroker-"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/"
LEDGER, OBJECT = f"{TABLE}ledger", "arn:aws:s3:::records/audit/2026/11/24/1-2-x.jsonl.gz"
STREAM = f"arn:aws:firehose:{REGION}:{ACCOUNT}:deliverystream/records"
S3: Context = {"kms:ViaService": (f"s3.{REGION}.amazonaws.com",)}
NONE: Context = {}
ALL = {"Chain": "true", "Bucket": "records", "BucketKey": f"{KEY}bucket", "Stream": "records"}


def resources(**parameters: str) -> dict[str, Any]:
    return dict(resolved(template("audit"), TablesKey=f"{KEY}tables", **parameters))


def may(action: str, on: str, *keys: str, context: Context = NONE, chosen: Mapping[str, str] = ALL) -> bool:
    policies = [one["PolicyDocument"] for one in resources(**chosen)["Role"]["Properties"]["Policies"]]
    return allows(policies, action, on, {**context, **({"dynamodb:LeadingKeys": keys} if keys else {})})


def test_all_of_it_is_off_unless_it_is_asked_for() -> None:
    """Without a choice there is no function, and no role."""
    assert resources().keys() == {"Log"}
    for chosen in ({"Chain": "true"}, {"Bucket": "records"}, {"Stream": "records"}):
        assert resources(**chosen).keys() == {"Log", "Role", "Function", "Schedule", "ScheduleMayRun"}


def test_what_it_needs_it_may_do() -> None:
    assert may("dynamodb:Query", LEDGER, "audit#2026-11#0")
    assert may("dynamodb:Query", LEDGER, "chain#audit")
    assert may("dynamodb:GetItem", LEDGER, "chain#export")
    assert may("dynamodb:PutItem", LEDGER, "chain#audit")
    assert may("dynamodb:UpdateItem", LEDGER, "chain#export")
    assert may("s3:PutObject", OBJECT)
    assert may("kms:GenerateDataKey", f"{KEY}bucket", context=S3)
    assert may("firehose:PutRecordBatch", STREAM)


@pytest.mark.parametrize(
    ("action", "on", "keys"),
    [
        *((f"dynamodb:{one}", LEDGER, ("audit#2026-11#0",)) for one in ("PutItem", "UpdateItem", "DeleteItem")),
        *((f"dynamodb:{one}", LEDGER, ("chain#audit", "audit#2026-11#0")) for one in ("PutItem", "UpdateItem")),
        ("dynamodb:DeleteItem", LEDGER, ("chain#audit",)),
        ("dynamodb:PutItem", LEDGER, ()),
        *((f"dynamodb:{one}", LEDGER, (key,)) for one in ("GetItem", "Query", "PutItem") for key in ("lock#0", "tokens#a", "pin#arn")),
        *((f"dynamodb:{one}", f"{TABLE}{name}", ("x",)) for one in ("GetItem", "Query", "PutItem") for name in ("control", "counters", "other")),
        ("dynamodb:Scan", LEDGER, ()),
        *((f"s3:{one}", OBJECT, ()) for one in ("GetObject", "DeleteObject", "PutObjectAcl", "PutObjectRetention", "BypassGovernanceRetention")),
        ("s3:PutObject", "arn:aws:s3:::records/other", ()),
        ("s3:PutObject", "arn:aws:s3:::others/audit/x", ()),
        ("kms:Decrypt", f"{KEY}bucket", ()),
        ("kms:Decrypt", f"{KEY}tables", ()),
        ("kms:Sign", f"{KEY}signing-a", ()),
        ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:keybroker/openai-AbCdEf", ()),
        ("firehose:PutRecordBatch", f"{STREAM}-2", ()),
        ("firehose:DeleteDeliveryStream", STREAM, ()),
    ],
)  # fmt: skip
def test_what_it_must_not_do_it_may_not(action: str, on: str, keys: tuple[str, ...]) -> None:
    """It writes no event, reads nothing but events, and can neither read back nor remove what it exported."""
    assert not may(action, on, *keys)


def test_without_an_export_it_has_no_right_to_one() -> None:
    """A role for the chain alone can reach no bucket and no stream."""
    chain = {"Chain": "true"}
    assert not may("s3:PutObject", OBJECT, chosen=chain)
    assert not may("s3:PutObject", "arn:aws:s3:::/audit/x", chosen=chain)
    assert not may("firehose:PutRecordBatch", STREAM, chosen=chain)
    assert not may("kms:GenerateDataKey", f"{KEY}bucket", context=S3, chosen={"Bucket": "records"})


def test_the_function_is_run_by_its_schedule_alone() -> None:
    """Its role is its own, its permission one rule's; it is the administration's zip, and its variables are what it reads."""
    found = resources(**ALL)
    assert found["ScheduleMayRun"]["Properties"]["SourceArn"] == "<Schedule.Arn>"
    assert found["Schedule"]["Properties"]["Name"].startswith("keybroker-changes-"), "infra/watch.yaml tells of its end"
    function = found["Function"]["Properties"]
    assert (function["Handler"], function["Code"]) == ("chalicelib.aws.audit_function.handler", "admin/deployment.zip")
    read = AuditConfig.read({"AWS_REGION": REGION, **function["Environment"]["Variables"]})
    assert (read.ledger, read.bucket, read.form, read.claims) == ("keybroker-ledger", "records", "jsonl", False)
    assert f"Runtime: python{PYTHON}\n" in package.template_of_function("audit")
