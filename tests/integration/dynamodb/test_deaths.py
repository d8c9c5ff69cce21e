"""`kill -9` at every step of a call through the edge's own client: it may cost a number, and nothing beyond the limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib import quota
from chalicelib.aws.edge_client import EdgeClient
from chalicelib.quota import Limit
from tests.contracts import dynamodb_adapters
from tests.contracts.adapters import Adapters
from tests.contracts.samples import ISSUER, NOW, grant, issuer, new_id, put_in_force
from tests.integration import ministack
from tests.races.actor import Actor, keys_in
from tests.races.dying import Nursery, Steps, nursery
from tests.races.dynamo_store import DynamoStore
from tests.races.last_acts import Call

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REQUESTS = ["BatchGetItem", "UpdateItem", "UpdateItem"]
LIMIT = 2
TEAM = grant(calls=(Limit(LIMIT, "day"),))._replace(claims=((("team",), ("a",)),))


class _SteppingClient(EdgeClient):
    """Its requests are steps, before and after."""

    def __init__(self, steps: Steps, *arguments: Any) -> None:  # noqa: ANN401  as the client has them
        super().__init__(*arguments)
        self._steps = steps

    def _exchange(self, operation: Any, *arguments: Any) -> Any:  # noqa: ANN401  as the client has them
        name = operation.target.rpartition(".")[2]
        self._steps.step(f"before {name}")
        answer = yield from super()._exchange(operation, *arguments)
        self._steps.step(f"after {name}")
        return answer


@dataclass(frozen=True)
class OverEdgeClient:
    """`tests.races.dying.Opens`: the three tables, each request of the edge a step."""

    store: DynamoStore

    def __call__(self, steps: Steps) -> Adapters:
        """See `Opens`."""
        client = dynamodb_adapters.edge_client_at(self.store.endpoint, partial(_SteppingClient, steps))
        return dynamodb_adapters.over(self.store.tables(), client)


@pytest.fixture
def born() -> Iterator[Nursery]:
    """Where processes come from."""
    with nursery() as one:
        yield one


@pytest.fixture
def store(endpoint: str, dynamodb: DynamoDBClient) -> Iterator[DynamoStore]:
    """Three empty tables, for the edge's own client."""
    with ministack.fresh_tables(dynamodb) as tables:
        yield DynamoStore.over(endpoint, tables, edge_client=True)


def test_a_death_costs_one_number_at_most(store: DynamoStore, born: Nursery, tmp_path: Path) -> None:
    """Killed at any step, a call is not admitted, and cost one number at most; the rest of the limit is admitted."""
    with store.open() as opened:
        opened.adapters.control.list_signing_keys((keys_in(tmp_path).broker.kid(),))
        put_in_force(opened.adapters.control, TEAM, issuers=(issuer(),))
        actor = Actor.over(opened.adapters, keys_in(tmp_path))

        def token(subject: str) -> str:
            return actor.exchange(actor.subject_token(subject, NOW, team="a"), NOW)

        lived = born.run(Call(token(new_id())), OverEdgeClient(store), tmp_path)
        assert lived.answer == "admitted"
        assert sorted(set(lived.names) & {f"{when} {name}" for when in ("before", "after") for name in REQUESTS}) == [
            *("after BatchGetItem", "after UpdateItem", "before BatchGetItem", "before UpdateItem")
        ]
        for at, step in enumerate(lived.names):
            subject = new_id()
            mine = token(subject)
            ended = born.run(Call(mine), OverEdgeClient(store), tmp_path, at)
            assert (ended.killed, ended.answer) == (True, "admitted" if step == "after the answer" else ""), step
            admitted = sum(actor.is_within_quota(mine, NOW) for _ in range(LIMIT + 2))
            counters = quota.counters("calls", "ci", f"{ISSUER}|sub:{subject}", NOW)
            lost = {opened.adapters.counted(one)[0] - admitted for one in counters}
            assert (lost <= {0, 1}, admitted >= LIMIT - 1) == (True, True), step
