"""The connection to DynamoDB is lost at any request of an operation, over ministack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chalicelib.revocation import SCOPES
from tests.contracts.dynamodb_adapters import patience
from tests.integration import ministack
from tests.races import interrupted
from tests.races.interrupted import Interrupted

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture(scope="module", autouse=True)
def patient() -> Iterator[None]:
    """Nothing but what is cut off takes too long."""
    with patience():
        yield


@pytest.fixture(scope="module")
def here(dynamodb: DynamoDBClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interrupted]:
    """Three tables with a policy in force."""
    with ministack.fresh_tables(dynamodb) as tables:
        yield Interrupted(tables, tmp_path_factory.mktemp("keys")).prepare()


@pytest.mark.parametrize("key", [True, False], ids=["with a key", "without a key"])
def test_a_token_is_recorded_counted_and_locked_at_once_or_not_at_all(here: Interrupted, *, key: bool) -> None:
    interrupted.exchanges(here, key=key)


def test_a_call_that_is_cut_off_is_not_admitted_and_costs_one_number_at_most(here: Interrupted) -> None:
    interrupted.calls(here)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_revocation_is_on_every_copy_or_on_none_and_repeating_finishes_it(here: Interrupted, scope: str) -> None:
    interrupted.revocations(here, scope)


@pytest.mark.parametrize("scope", SCOPES)
def test_its_end_is_on_every_copy_or_on_none_and_repeating_finishes_it(here: Interrupted, scope: str) -> None:
    interrupted.restorations(here, scope)


def test_interrupted_policy_change(dynamodb: DynamoDBClient, tmp_path: Path) -> None:
    """A policy change that was cut off is completed by a retry or another change; it never grants more than both."""

    @contextmanager
    def make() -> Iterator[Interrupted]:
        with ministack.fresh_tables(dynamodb) as tables:
            yield Interrupted(tables, tmp_path)

    interrupted.policy_is_finished_by_repeating(make)
