"""The connection to DynamoDB is lost at any request of an operation, over moto; more of it over ministack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.contracts import dynamodb_adapters, tables_template
from tests.contracts.dynamodb_adapters import patience
from tests.faulty_dynamodb import door
from tests.races import interrupted
from tests.races.interrupted import Interrupted

pytestmark = pytest.mark.slow  # moto copies a whole table for each transaction on it


@pytest.fixture(scope="module", autouse=True)
def patient() -> Iterator[None]:
    """Nothing but what is cut off takes too long."""
    with patience():
        yield


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interrupted]:
    """Three tables with a policy in force."""
    client = dynamodb_adapters.locked_moto()
    tables = tables_template.create_tables(client, "cut")
    yield Interrupted(tables, tmp_path_factory.mktemp("keys")).prepare()
    for name in (tables.control, tables.counters, tables.ledger):
        client.delete_table(TableName=name)


@pytest.mark.parametrize("key", [True, False], ids=["with a key", "without a key"])
def test_a_token_is_recorded_counted_and_locked_at_once_or_not_at_all(here: Interrupted, *, key: bool) -> None:
    interrupted.exchanges(here, key=key)


def test_a_call_that_is_cut_off_is_not_admitted_and_costs_one_number_at_most(here: Interrupted) -> None:
    interrupted.calls(here)


def test_a_call_of_the_edge_s_own_client_is_cut_off_like_that(here: Interrupted) -> None:
    with door() as opened:
        interrupted.calls(replace(here, door=opened))


@pytest.mark.parametrize("scope", ["grant", "principal"])
def test_a_revocation_is_on_every_copy_or_on_none_and_repeating_finishes_it(here: Interrupted, scope: str) -> None:
    interrupted.revocations(here, scope)


@pytest.mark.parametrize("scope", ["grant", "principal"])
def test_its_end_is_on_every_copy_or_on_none_and_repeating_finishes_it(here: Interrupted, scope: str) -> None:
    interrupted.restorations(here, scope)
