"""The audit's chain over DynamoDB: each test changes the table as its rights allow."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.admin.audit_chain import Fault
from chalicelib.audit import Event
from chalicelib.aws import audit_chain
from chalicelib.aws.audit import DynamoAudit
from chalicelib.aws.audit_chain import HEARTBEAT, SEAL_LAG, DynamoAuditChain
from chalicelib.aws.audit_stream import oldest_first
from chalicelib.aws.dynamodb import Tables
from tests.contracts import samples
from tests.contracts.dynamodb_adapters import locked_moto, patience
from tests.contracts.samples import NOW
from tests.contracts.tables_template import create_tables

Told = list[tuple[str, int, str]]
pytestmark = pytest.mark.slow  # moto


@pytest.fixture(scope="module")
def made() -> Tables:
    """Tables that the tests of this module share, each at a time of its own."""
    return create_tables(locked_moto(), "chained")


@pytest.fixture
def tables(made: Tables) -> Iterator[Tables]:
    """The tables without an item, with the events e1 to e6, of two months, sealed in two digests."""
    for item in made.client.scan(TableName=made.ledger)["Items"]:
        made.client.delete_item(TableName=made.ledger, Key={"pk": item["pk"], "sk": item["sk"]})
    with patience():
        seal(made, NOW - 86400)
        for number in range(1, 7):
            write(made, number)
        seal(made, NOW + 103)
        seal(made, NOW + 50 * 86400)
        yield made


def event_of(number: int) -> Event:
    at = NOW + 99 + number if number < 5 else NOW + 45 * 86400 + number
    return replace(samples.event("key.set", at=at), id=f"e{number}", key="openai", detail={"version": "v"})


def write(tables: Tables, number: int) -> None:
    DynamoAudit(tables).record(event_of(number))


def seal(tables: Tables, until: int) -> int:
    return DynamoAuditChain(tables).seal(until + SEAL_LAG, lambda: True)


def faults(tables: Tables) -> Told:
    found: list[Fault] = []
    after = ""
    while True:
        page = DynamoAuditChain(tables).check_chain(after)
        found += page.faults
        if not page.next:
            return [(one.what, one.seq, one.id) for one in found]
        after = page.next


def change(tables: Tables, number: int, name: str, value: Any) -> None:  # noqa: ANN401  DynamoDB's form
    key = DynamoAudit.key(event_of(number))
    update(tables, key, name, value)


def update(tables: Tables, key: Any, name: str, value: Any) -> None:  # noqa: ANN401  as of that
    tables.client.update_item(
        TableName=tables.ledger,
        Key=key,
        UpdateExpression="SET #n = :v",
        ExpressionAttributeNames={"#n": name},
        ExpressionAttributeValues={":v": value},
    )


def digest(seq: int) -> Any:  # noqa: ANN401  as of that
    return {"pk": {"S": "chain#audit"}, "sk": {"S": f"{seq:013d}"}}


def test_what_was_sealed_is_one_chain(tables: Tables) -> None:
    """As it was written, nothing is at fault, every event is in it, and they come oldest first over all months."""
    page = DynamoAuditChain(tables).check_chain("")
    assert (page.faults, page.links, page.events, page.next) == ((), 3, 6, "")
    head = DynamoAuditChain(tables).head(None)
    assert (head.seq, head.at, head.newest, len(head.hash)) == (3, NOW + 50 * 86400, 3, 64)
    found = [
        json.loads(item["event"]["S"])["id"]
        for item in oldest_first(tables, f"{NOW:013d}#", f"{NOW + 50 * 86400:013d}#")
    ]
    assert found == ["e1", "e2", "e3", "e4", "e5", "e6"]


def test_a_changed_event(tables: Tables) -> None:
    """An event whose content, or what it is found by, was changed is named; how often it was repeated may grow."""
    change(tables, 1, "repeated", {"N": "5"})
    assert faults(tables) == []
    change(tables, 2, "event", {"S": json.dumps({**event_of(2).to_json(), "actor": "x"})})
    change(tables, 5, "f_key", {"S": "other"})
    change(tables, 6, "event", {"S": "{"})
    assert faults(tables) == [("changed", 2, "e2"), ("changed", 3, "e5"), ("changed", 3, "e6")]


def test_a_missing_and_an_inserted_event(tables: Tables) -> None:
    """An event that was deleted, and one that was put into a time that is sealed, are named."""
    tables.client.delete_item(TableName=tables.ledger, Key=DynamoAudit.key(event_of(3)))
    DynamoAudit(tables).record(replace(event_of(5), id="forged"))
    assert faults(tables) == [("missing", 2, "e3"), ("inserted", 3, "forged")]
    seal(tables, NOW + 51 * 86400)
    assert faults(tables) == [("missing", 2, "e3"), ("inserted", 3, "forged")]


def test_a_changed_digest(tables: Tables) -> None:
    """A digest that was changed, a missing one, and one that was made anew are found."""
    before = DynamoAuditChain(tables).head(2).hash
    tables.client.delete_item(TableName=tables.ledger, Key=DynamoAudit.key(event_of(3)))
    lines = zlib.decompress(tables.client.get_item(TableName=tables.ledger, Key=digest(2))["Item"]["events"]["B"])
    without = b"".join(line for line in lines.splitlines(keepends=True) if b"#e3 " not in line)
    update(tables, digest(2), "events", {"B": zlib.compress(without)})
    assert faults(tables) == [("changed", 2, "")]
    made_anew = audit_chain._digest(tables.client.get_item(TableName=tables.ledger, Key=digest(2))["Item"])
    update(tables, digest(2), "hash", {"S": made_anew.hash})
    assert faults(tables) == [("changed", 3, "")]
    assert DynamoAuditChain(tables).head(2).hash != before
    update(tables, digest(2), "events", {"B": b"x"})
    assert faults(tables)[0] == ("changed", 2, "")
    tables.client.delete_item(TableName=tables.ledger, Key=digest(2))
    assert faults(tables)[0] == ("missing", 2, "")


def test_a_tail_that_was_cut_off(tables: Tables) -> None:
    """Without its last digests the chain is whole; a head from before is not in it any more, also once it is sealed anew."""
    published = DynamoAuditChain(tables).head(None)
    for key in (digest(3), DynamoAudit.key(event_of(6))):
        tables.client.delete_item(TableName=tables.ledger, Key=key)
    assert (faults(tables), DynamoAuditChain(tables).head(3).hash) == ([], "")
    seal(tables, NOW + 50 * 86400)
    assert (faults(tables), DynamoAuditChain(tables).head(3).hash == published.hash) == ([], False)


def test_sealing_waits_and_beats(tables: Tables) -> None:
    """What is younger than the lag is not sealed; without events there is a digest an hour; nothing is sealed twice."""
    newest = NOW + 50 * 86400
    assert seal(tables, newest) == 0
    assert seal(tables, newest + HEARTBEAT - 1) == 0
    assert seal(tables, newest + HEARTBEAT) == 1
    assert (faults(tables), DynamoAuditChain(tables).head(None).seq) == ([], 4)


def test_much_is_many_digests(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """More events than fit are several digests, which one run may leave to the next."""
    monkeypatch.setattr(audit_chain, "IN_A_DIGEST", 2)
    for number in range(7, 12):
        DynamoAudit(tables).record(replace(event_of(6), id=f"f{number}", at=NOW + 55 * 86400 + number // 9))
    left = iter([True, False])
    assert DynamoAuditChain(tables).seal(NOW + 56 * 86400 + SEAL_LAG, lambda: next(left)) == 1
    assert seal(tables, NOW + 56 * 86400) == 2
    assert (faults(tables), DynamoAuditChain(tables).head(None).seq) == ([], 6)


def test_two_sealers(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two runs at once one writes a digest; the other stops, and writes nothing over it."""
    DynamoAudit(tables).record(replace(event_of(6), id="e7", at=NOW + 55 * 86400))
    chain, put = DynamoAuditChain(tables), DynamoAuditChain._put
    until = NOW + 60 * 86400 + SEAL_LAG

    def late(self: DynamoAuditChain, one: audit_chain.Digest) -> bool:
        monkeypatch.setattr(DynamoAuditChain, "_put", put)
        assert DynamoAuditChain(tables).seal(until + 99, lambda: True) == 1
        return put(self, one)

    monkeypatch.setattr(DynamoAuditChain, "_put", late)
    assert chain.seal(until, lambda: True) == 0
    assert (faults(tables), chain.head(None).seq, chain.head(None).at) == ([], 4, NOW + 60 * 86400 + 99)


def test_no_chain(made: Tables) -> None:
    """Where nothing was sealed yet there is no head, and nothing to compare."""
    empty = DynamoAuditChain(made._replace(ledger=made.control))
    assert (empty.head(None).seq, empty.head(None).hash, empty.head(4).hash) == (0, "", "")
    assert empty.check_chain("").links == 0


@pytest.mark.parametrize("cursor", ["x", "-1", "9" * 30, "٣"])
def test_a_malformed_cursor_of_the_chain(made: Tables, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        DynamoAuditChain(made).check_chain(cursor)
