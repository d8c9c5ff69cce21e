"""ministack's tables as a store. A module of its own, since it brings botocore into every process that reads it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from chalicelib.aws.dynamodb import Tables
from tests.contracts import dynamodb_adapters
from tests.integration import ministack
from tests.races.stores import Opened


@dataclass(frozen=True)
class DynamoStore:
    """The three tables at ministack. patience: seconds that a round trip may take; where counts are exact, nothing may fail."""

    endpoint: str
    control: str
    counters: str
    ledger: str
    patience: float = 30.0

    @classmethod
    def over(cls, endpoint: str, tables: Tables) -> DynamoStore:
        """Return tables as what another process can open."""
        return cls(endpoint, tables.control, tables.counters, tables.ledger)

    @contextmanager
    def open(self) -> Iterator[Opened]:
        """See `Store.open`."""
        client = ministack.client("dynamodb", self.endpoint)
        tables = Tables(client, self.control, self.counters, self.ledger)
        with dynamodb_adapters.patience(self.patience), contextlib.closing(client):
            yield Opened(dynamodb_adapters.over(tables), lambda: None)
