"""ministack's tables as a store. A module of its own, since it brings botocore into every process that reads it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from chalicelib.aws.dynamodb import Tables
from chalicelib.aws.edge_client import EdgeClient
from chalicelib.aws.round_trip import Steps
from tests.contracts import dynamodb_adapters
from tests.integration import ministack
from tests.races.stores import Opened


@dataclass(frozen=True)
class DynamoStore:
    """The three tables at ministack. patience: seconds that a round trip may take; where counts are exact, nothing may fail.

    edge_client: whether the edge has the client of its own, one for each thread, in place of botocore's.
    """

    endpoint: str
    control: str
    counters: str
    ledger: str
    patience: float = 30.0
    edge_client: bool = False

    @classmethod
    def over(cls, endpoint: str, tables: Tables, *, edge_client: bool = False) -> DynamoStore:
        """Return tables as what another process can open."""
        return cls(endpoint, tables.control, tables.counters, tables.ledger, edge_client=edge_client)

    def tables(self) -> Tables:
        """Return the tables, with a client of this process's own."""
        client = ministack.client("dynamodb", self.endpoint)
        return Tables(client, self.control, self.counters, self.ledger)

    @contextmanager
    def open(self) -> Iterator[Opened]:
        """See `Store.open`."""
        tables = self.tables()
        with dynamodb_adapters.patience(self.patience), contextlib.closing(tables.client):
            if not self.edge_client:
                yield Opened(dynamodb_adapters.over(tables), lambda: None)
                return
            own = _OneForEachThread(self.endpoint)
            try:
                yield Opened(dynamodb_adapters.over(tables, own), own.leave)
            finally:
                own.leave()


class _OneForEachThread:
    """`chalicelib.aws.round_trip.AwsClient`: the edge's own, one for each thread, as each instance of a function has one."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint, self._mine = endpoint, threading.local()

    def run(self, calls: Sequence[Steps[Any]], seconds: float, undo: Mapping[int, Steps[Any]]) -> Sequence[Any]:
        """See `AwsClient.run`."""
        if not hasattr(self._mine, "client"):
            self._mine.client = dynamodb_adapters.edge_client_at(self._endpoint)
        client: EdgeClient = self._mine.client
        return client.run(calls, seconds, undo)

    def leave(self) -> None:
        """Close this thread's connections; it has others if it goes on."""
        if hasattr(self._mine, "client"):
            self._mine.client.close()
