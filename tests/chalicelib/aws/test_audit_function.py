"""The function that looks after the audit."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chalicelib.aws import audit_function
from chalicelib.aws.audit_chain import SEAL_LAG, DynamoAuditChain
from chalicelib.aws.audit_destinations import Bucket, Stream
from chalicelib.aws.audit_function import AuditConfig
from chalicelib.aws.ledger import DynamoLedger
from chalicelib.errors import NotConfigured
from tests.contracts import samples
from tests.contracts.dynamodb_adapters import locked_moto, patience
from tests.contracts.samples import NOW
from tests.contracts.tables_template import create_tables

ENVIRON = {
    "AWS_REGION": "us-east-1",
    "KEYBROKER_CONTROL": "c",
    "KEYBROKER_COUNTERS": "n",
    "KEYBROKER_LEDGER": "l",
    "KEYBROKER_FORM": "ocsf",
}


def test_where_events_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nowhere unless there is a bucket or a stream."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    read = AuditConfig.read(ENVIRON)
    assert (read.form, read.claims, audit_function.destinations(read)) == ("ocsf", False, [])
    assert isinstance(audit_function.destinations(read._replace(bucket="b"))[0], Bucket)
    assert isinstance(audit_function.destinations(read._replace(stream="s"))[0], Stream)


@pytest.mark.parametrize(
    "change",
    [{"KEYBROKER_LEDGER": ""}, {"AWS_REGION": ""}, {"KEYBROKER_FORM": "xml"}, {"KEYBROKER_CLAIMS": "yes"}],
)
def test_what_is_not_configured(change: dict[str, str]) -> None:
    """What is missing or malformed is said by its name."""
    with pytest.raises(NotConfigured):
        AuditConfig.read({**ENVIRON, **change})


@pytest.mark.slow
def test_sealed_before_it_is_exported() -> None:
    """A run seals, and exports what it has sealed."""
    tables = create_tables(locked_moto(), "audited")
    seen: list[int] = []

    class Watching:
        def write(self, name: str, lines: Sequence[str]) -> None:
            assert name
            seen.append(len(lines))
            assert DynamoAuditChain(tables).check_chain("").events == 1

    with patience():
        config = AuditConfig.read(ENVIRON)
        audit_function.run(config, tables, [], NOW + SEAL_LAG, lambda: True)
        DynamoLedger(tables).record(samples.event("keys.read", at=NOW + 1))
        audit_function.run(config, tables, [Watching()], NOW + 9 + SEAL_LAG, lambda: True)
    assert seen == [1]
