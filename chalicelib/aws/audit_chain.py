"""The audit's chain in DynamoDB: digests of some minutes of events, each with the hash of the one before it.

Writing an event takes no part in it. A scheduled function seals what is older than SEAL_LAG.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from chalicelib.admin import audit_chain
from chalicelib.admin.audit_chain import CHANGED, GENESIS, INSERTED, MISSING, ChainPage, Fault, Head
from chalicelib.audit import FILTERS
from chalicelib.aws.audit import order
from chalicelib.aws.audit_stream import oldest_first
from chalicelib.aws.dynamodb import Tables, as_unavailable
from chalicelib.aws.errors import error_code
from chalicelib.aws.items import Item, held, number, text
from chalicelib.errors import StateUnavailable

SEAL_LAG = 600
"""Seconds that an event has to be written in, from its time on; one that comes later reads as inserted."""
IN_A_DIGEST = 2000
"""Events at most: their ids and hashes are 400 KB, DynamoDB's limit, at twice that."""
HEARTBEAT = 3600
"""Seconds after which a digest is written although nothing happened."""
CHECK_SECONDS = 10.0
"""Seconds after which a page of a check ends."""
_PARTITION = "chain#audit"


class Digest(NamedTuple):
    """A link: the events behind one sort key, up to another."""

    seq: int
    before: str
    after: str
    to: str
    lines: str
    """One for each event: sort key and hash."""

    @property
    def linked(self) -> str:
        """What is hashed."""
        return f"{self.after}\n{self.to}\n{self.lines}"

    @property
    def hash(self) -> str:
        """Its hash, as it has to be."""
        return audit_chain.link(self.before, self.seq, self.linked)

    def expected(self) -> dict[str, str]:
        """Return the hash of each event, by its sort key."""
        return dict(line.rsplit(" ", 1) for line in self.lines.splitlines())


class DynamoAuditChain:
    """`chalicelib.admin.audit_chain.AuditChain` over the `ledger` table."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def head(self, seq: int | None) -> Head:
        """See `AuditChain.head`."""
        newest = next(iter(self._items(newest_first=True, limit=1)), None)
        if newest is None:
            return Head(seq or 0, "", 0, 1, 0)
        last = number(newest, "seq")
        item = newest if seq in (None, last) else self._item(seq or 0)
        found = text(item, "hash")
        at = int(text(item, "sealed_to")[:13]) if found else 0
        return Head(last if seq is None else seq, found, at, 1, last)

    def check_chain(self, after: str) -> ChainPage:
        """See `AuditChain.check_chain`. The cursor is the number of the last digest that was checked."""
        done = _cursor(after)
        hash_before, to_before = GENESIS, ""
        if done:
            item = self._item(done)
            hash_before, to_before = text(item, "hash"), text(item, "sealed_to")
        ends = time.monotonic() + CHECK_SECONDS
        faults: list[Fault] = []
        links = events = 0
        for item in self._items(since=done + 1):
            seq = number(item, "seq")
            digest, stored = _digest(item), text(item, "hash")
            faults += [Fault(MISSING, one, "", 0) for one in range(done + 1, min(seq, done + 100))]
            follows = seq > done + 1 or (digest.before == hash_before and (not done or digest.after == to_before))
            links += 1
            if digest.hash == stored:
                count, found = self._compare(digest)
                events, faults = events + count, [*faults, *found]
            if digest.hash != stored or not follows:  # of a digest that was changed, no event can be judged
                faults.append(Fault(CHANGED, seq, "", 0))
            done, hash_before, to_before = seq, stored, digest.to
            if time.monotonic() > ends or events >= IN_A_DIGEST or len(faults) >= audit_chain.FAULTS_ON_A_PAGE // 2:
                return ChainPage(tuple(faults[: audit_chain.FAULTS_ON_A_PAGE]), links, events, 0, str(done))
        return ChainPage(tuple(faults), links, events, 0, "")

    def seal(self, now: int, more: Callable[[], bool]) -> int:
        """Seal what is old enough, while `more` says so; return how many digests. Raises Unavailable."""
        bound = order(now - SEAL_LAG, "")
        newest = next(iter(self._items(newest_first=True, limit=1)), None)
        if newest is None:  # what is older is in no chain
            return int(self._put(Digest(1, GENESIS, bound, bound, "")))
        seq, before, after = number(newest, "seq"), text(newest, "hash"), text(newest, "sealed_to")
        if after >= bound:
            return 0
        sealed, events = 0, oldest_first(self._tables, after, bound)
        while more():
            chunk = list(itertools.islice(events, IN_A_DIGEST))
            to = text(chunk[-1], "sk") if len(chunk) == IN_A_DIGEST else bound
            if not chunk and int(bound[:13]) - int(after[:13]) < HEARTBEAT:
                break
            digest = Digest(seq + 1, before, after, to, "".join(f"{line}\n" for line in map(_line, chunk)))
            if not self._put(digest):
                break  # another run was quicker, and goes on
            sealed, seq, before, after = sealed + 1, digest.seq, digest.hash, to
            if to == bound:
                break
        return sealed

    def _compare(self, digest: Digest) -> tuple[int, list[Fault]]:
        """Return how many events there are in a digest's time, and which are not as it says."""
        expected, faults, count = digest.expected(), [], 0
        for item in oldest_first(self._tables, digest.after, digest.to):
            count += 1
            place, found = _line(item).rsplit(" ", 1)
            was = expected.pop(place, None)
            if was != found:
                faults.append(_fault(INSERTED if was is None else CHANGED, digest.seq, place))
        faults += [_fault(MISSING, digest.seq, place) for place in expected]
        return count, faults

    def _put(self, digest: Digest) -> bool:
        """Write a digest; False if there is one of its number."""
        item: dict[str, Any] = {
            **_key(digest.seq),
            "seq": {"N": str(digest.seq)},
            "before": {"S": digest.before},
            "hash": {"S": digest.hash},
            "sealed_after": {"S": digest.after},
            "sealed_to": {"S": digest.to},
            "events": {"B": zlib.compress(digest.lines.encode())},
        }
        try:
            with as_unavailable():
                self._tables.client.put_item(
                    TableName=self._tables.ledger, Item=item, ConditionExpression="attribute_not_exists(pk)"
                )
        except ClientError as error:
            if error_code(error) == "ConditionalCheckFailedException":
                return False
            raise StateUnavailable(aws_code=error_code(error)) from error
        return True

    def _item(self, seq: int) -> Item:
        return next((item for item in self._items(since=seq, limit=1) if number(item, "seq") == seq), {})

    def _items(self, since: int = 0, *, newest_first: bool = False, limit: int = 20) -> Iterator[Item]:
        query: dict[str, Any] = {
            "TableName": self._tables.ledger,
            "KeyConditionExpression": "pk = :pk AND sk >= :since",
            "ExpressionAttributeValues": {":pk": {"S": _PARTITION}, ":since": _key(since)["sk"]},
            "ScanIndexForward": not newest_first,
            "ConsistentRead": True,
            "Limit": limit,
        }
        while True:
            with as_unavailable():
                answer = self._tables.client.query(**query)
            yield from held(answer, "Items")
            if "LastEvaluatedKey" not in answer:
                return
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _key(seq: int) -> dict[str, Any]:
    return {"pk": {"S": _PARTITION}, "sk": {"S": f"{seq:013d}"}}


def _line(item: Item) -> str:
    """Return sort key and hash of an event: of its content, and of what it is found by."""
    place, event = text(item, "sk"), text(item, "event")
    try:
        content = audit_chain.content(json.loads(event))
    except (ValueError, TypeError):
        content = event
    found_by = {name: text(item, f"f_{name}") for name in FILTERS if f"f_{name}" in item}
    whole = f"{place}\n{json.dumps(found_by, sort_keys=True)}\n{content}"
    return f"{place} {hashlib.sha256(whole.encode()).hexdigest()}"


def _digest(item: Item) -> Digest:
    """Read a digest, whatever was done to it: what cannot be read is empty, and its hash is another."""
    try:
        lines = zlib.decompress(item["events"]["B"]).decode()
    except (KeyError, TypeError, ValueError, zlib.error):
        lines = ""
    edges = (text(item, "sealed_after"), text(item, "sealed_to"))
    return Digest(number(item, "seq"), text(item, "before"), *edges, lines)


def _fault(what: str, seq: int, place: str) -> Fault:
    at, _, event_id = place.partition("#")
    return Fault(what, seq, event_id, int(at))


def _cursor(after: str) -> int:
    if after and not (after.isascii() and after.isdecimal() and len(after) < 14):
        raise ValueError("not a cursor of the chain")
    return int(after or "0")
