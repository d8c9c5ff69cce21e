"""DynamoDB whose items take no more now and then: moto behind a door, which other processes open as well."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from chalicelib.aws.botocore_client import BotocoreClient
from chalicelib.aws.dynamodb import Tables, make_client
from chalicelib.aws.edge_state import DynamoEdgeState
from chalicelib.edge import lots
from tests.contracts import dynamodb_adapters
from tests.faulty_dynamodb import Fault, Turn, hot, loses_its_answer, serves
from tests.races.stores import Opened

SIZE, SLICES = 5, 2
"""Lots that are used up often, in slices that many want at once."""


class Rush:
    """What is wrong with the door. throttled: how many of the updates of a counter's own item it does not take, of one.

    dies: how many of those that have to do with a lot are made, and their answers lost.
    """

    def __init__(self, throttled: float, dies: float = 0.0) -> None:
        self._throttled, self._dies = throttled, dies
        self._random, self._guard = random.Random(7), threading.Lock()
        self._hot = hot()

    def __call__(self, turn: Turn) -> None:
        """Be the door's fault."""
        with self._guard:
            chance = self._random.random()
        fault: Fault = serves
        if turn.operation == "UpdateItem":
            partition = str(turn.body["Key"]["pk"]["S"])
            hands_out = any(value == {"N": str(SIZE)} for value in turn.body["ExpressionAttributeValues"].values())
            if partition.startswith("calls#") and chance < (self._throttled / 4 if hands_out else self._throttled):
                fault = self._hot
            elif (hands_out or partition.startswith("slice#")) and chance > 1 - self._dies:
                fault = loses_its_answer
        fault(turn)


class _WithOldEdges(DynamoEdgeState):
    """Every other call is an edge's of before, which knows a counter's own item and nothing else."""

    def _count(self, *given: Any, may_wait: bool = False, **named: Any) -> Sequence[Any]:  # noqa: ANN401  as it is there
        return super()._count(*given, may_wait=may_wait and random.random() < 0.5, **named)


@dataclass(frozen=True)
class HotStore:
    """Tables behind a door at this URL. lean: the edge has the client of its own. old: half of its calls are old edges'."""

    url: str
    control: str
    counters: str
    ledger: str
    lean: bool = False
    old: bool = False

    @contextmanager
    def open(self) -> Iterator[Opened]:
        """See `Store.open`; with lots for every limit."""
        with dynamodb_adapters.patience(), self.small():
            yield from self._opened()

    def _opened(self) -> Iterator[Opened]:
        client, edge_client = make_client("us-east-1", self.url), dynamodb_adapters.edge_client_at(self.url)
        tables = Tables(client, self.control, self.counters, self.ledger)
        adapters = dynamodb_adapters.over(tables, edge_client if self.lean else None)
        if self.old:
            of_edge = edge_client if self.lean else BotocoreClient(client)
            adapters = replace(adapters, edge_state=_WithOldEdges(of_edge, self.control, self.counters))
        with contextlib.closing(client), contextlib.closing(edge_client):
            yield Opened(adapters, lambda: None)

    @staticmethod
    @contextmanager
    def small() -> Iterator[None]:
        """Have small lots meanwhile, for every limit."""
        with mock.patch.multiple(lots, SIZE=SIZE, SLICES=SLICES, SMALLEST_LIMIT=1):
            yield
