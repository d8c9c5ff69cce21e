"""The export on AWS, over moto's tables and bucket, and a stream that does not take everything."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.aws import audit_export, clients
from chalicelib.aws.audit import DynamoAudit
from chalicelib.aws.audit_chain import SEAL_LAG
from chalicelib.aws.audit_destinations import RECORDS, TRIES, Bucket, Stream
from chalicelib.aws.audit_export import AuditExport
from chalicelib.aws.dynamodb import Tables
from chalicelib.errors import Unavailable
from tests.contracts import samples
from tests.contracts.dynamodb_adapters import locked_moto, patience
from tests.contracts.samples import NOW
from tests.contracts.tables_template import create_tables

pytestmark = pytest.mark.slow  # moto
S3 = "audit-of-a-test"


@pytest.fixture(scope="module")
def made() -> Iterator[Tables]:
    """Tables, and a bucket, of this module."""
    tables = create_tables(locked_moto(), "exported")
    client = clients.patient("s3", "us-east-1")
    client.create_bucket(Bucket=S3)
    with patience():
        yield tables


@pytest.fixture
def tables(made: Tables) -> Tables:
    """The tables with the events e1 to e5, and an empty bucket."""
    for item in made.client.scan(TableName=made.ledger)["Items"]:
        made.client.delete_item(TableName=made.ledger, Key={"pk": item["pk"], "sk": item["sk"]})
    client = clients.patient("s3", "us-east-1")
    for one in client.list_objects_v2(Bucket=S3).get("Contents", ()):
        client.delete_object(Bucket=S3, Key=one["Key"])
    for number in range(1, 6):
        write(made, number)
    return made


def write(tables: Tables, number: int) -> None:
    event = samples.event("key.set", at=NOW + number, claims={"email": "ada@example.com"})
    DynamoAudit(tables).record(replace(event, id=f"e{number}"))


def bucket() -> Bucket:
    return Bucket(clients.patient("s3", "us-east-1"), S3, "audit/")


def export(tables: Tables, until: int, **options: Any) -> int:  # noqa: ANN401  as of AuditExport
    form = options.pop("form", "jsonl")
    one = AuditExport(tables, options.pop("to", None) or bucket(), form, claims=options.pop("claims", False))
    return one.run(until + SEAL_LAG, NOW - 100, options.pop("more", lambda: True))


def objects() -> dict[str, list[dict[str, Any]]]:
    """What is in the bucket, by name."""
    client = clients.patient("s3", "us-east-1")
    found = {}
    for one in client.list_objects_v2(Bucket=S3).get("Contents", ()):
        body = gzip.decompress(client.get_object(Bucket=S3, Key=one["Key"])["Body"].read())
        found[one["Key"]] = [json.loads(line) for line in body.splitlines()]
    return found


def ids() -> list[str]:
    return [one["id"] for lines in objects().values() for one in lines]


def test_each_event_once(tables: Tables) -> None:
    """A run exports what came since the last one and is old enough, into an object of its own."""
    assert export(tables, NOW + 3) == 2
    assert export(tables, NOW + 3) == 0
    assert export(tables, NOW + 99) == 3
    assert export(tables, NOW + 200) == 0
    assert (sorted(ids()), len(objects())) == (["e1", "e2", "e3", "e4", "e5"], 2)
    assert sorted(name[:38] for name in objects()) == [
        f"audit/2027/01/15/{NOW - 100}-{NOW + 3}",
        f"audit/2027/01/15/{NOW + 3}-{NOW + 99}",
    ]
    assert "ada@example.com" not in json.dumps(objects())


def test_formats(tables: Tables) -> None:
    """OCSF, or the event itself; with claims only where they are asked for."""
    export(tables, NOW + 3, form="ocsf", claims=True)
    (lines,) = objects().values()
    assert [(one["metadata"]["uid"], one["type_uid"]) for one in lines] == [("e1", 300401), ("e2", 300401)]
    assert lines[0]["unmapped"]["claims"] == {"email": "ada@example.com"}


def test_much_is_many_objects(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than fits into an object goes into several, and what a run has no time for is for the next."""
    monkeypatch.setattr(audit_export, "IN_A_RANGE", 2)
    left = iter([True, False])
    assert export(tables, NOW + 99, more=lambda: next(left)) == 2
    assert export(tables, NOW + 99) == 3
    assert (ids(), [len(one) for one in objects().values()]) == (["e1", "e2", "e3", "e4", "e5"], [2, 2, 1])


class Dying:
    """A destination behind which a run ends before it has noted that."""

    def write(self, name: str, lines: Sequence[str]) -> None:
        bucket().write(name, lines)
        raise KeyboardInterrupt


def test_a_run_that_was_ended(tables: Tables) -> None:
    """Ended behind an object and before its cursor, the next run loses none; for the same range it writes nothing twice."""
    with pytest.raises(KeyboardInterrupt):
        export(tables, NOW + 99, to=Dying())
    assert export(tables, NOW + 99) == 5
    assert (ids(), len(objects())) == (["e1", "e2", "e3", "e4", "e5"], 1)
    write(tables, 200)
    with pytest.raises(KeyboardInterrupt):
        export(tables, NOW + 300, to=Dying())
    assert export(tables, NOW + 301) == 1
    assert {*ids()} == {"e1", "e2", "e3", "e4", "e5", "e200"}


def test_two_runs(tables: Tables) -> None:
    """Of two runs at once one goes on, and both wrote the same."""

    class Meanwhile:
        def write(self, name: str, lines: Sequence[str]) -> None:
            assert export(tables, NOW + 99) == 5
            bucket().write(name, lines)

    assert export(tables, NOW + 99, to=Meanwhile()) == 0
    assert (ids(), len(objects())) == (["e1", "e2", "e3", "e4", "e5"], 1)


def test_an_object_is_never_written_over(tables: Tables) -> None:
    """An object that is there stays as it is."""
    bucket().write("x", ['{"id": "first"}'])
    bucket().write("x", ['{"id": "second"}'])
    assert ids() == ["first"]
    with pytest.raises(Unavailable):
        export(tables, NOW + 99, to=Bucket(clients.patient("s3", "us-east-1"), "no-such-bucket", ""))
    assert export(tables, NOW + 99) == 5


class Firehose:
    """Firehose's client: it takes nine records of ten at first; `refuses`: none at all."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.taken: list[bytes] = []
        self.sent: list[int] = []
        self._refuses = refuses

    def put_record_batch(self, DeliveryStreamName: str, Records: list[dict[str, bytes]]) -> Any:  # noqa: ANN401, N803  as of botocore
        assert DeliveryStreamName == "stream"
        self.sent.append(len(Records))
        results = []
        for number, one in enumerate(Records):
            fails = self._refuses or (len(Records) > 60 and number % 10 == 0)
            results.append({"ErrorCode": "ServiceUnavailableException"} if fails else {"RecordId": "r"})
            self.taken += [] if fails else [one["Data"]]
        return {"FailedPutCount": sum("ErrorCode" in one for one in results), "RequestResponses": results}


def test_what_a_stream_did_not_take_is_sent_again() -> None:
    """Only the records that failed are sent again, in requests that are within the limits."""
    client, lines = Firehose(), [f"{number:05}" + "x" * 8000 for number in range(RECORDS * 2)]
    Stream(client, "stream", lambda _: None).write("n", lines)
    assert sorted(client.taken) == [f"{line}\n".encode() for line in lines]
    assert max(client.sent) * 8006 <= 4 * 2**20


def test_a_stream_that_takes_nothing() -> None:
    """After some tries it is unavailable, and the cursor stays."""
    client = Firehose(refuses=True)
    with pytest.raises(Unavailable):
        Stream(client, "stream", lambda _: None).write("n", ["a"])
    assert client.sent == [1] * TRIES

    class Down:
        def put_record_batch(self, **_: object) -> None:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "PutRecordBatch")

    with pytest.raises(Unavailable):
        Stream(Down(), "stream").write("n", ["a"])
