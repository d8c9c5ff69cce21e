"""The tables of a stage as a gateway has them: whether they answer, and in how much time it is known that they do not."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from chalicelib.aws.config import BrokerConfig, EdgeConfig
from chalicelib.aws.round_trip import CALL_SECONDS
from chalicelib.aws.sigv4 import Credentials
from chalicelib.errors import StateUnavailable, Unavailable
from local.errors import StageUnusable
from local.stage import Stage
from tests.contracts.verbs import BROKER
from tests.faulty_dynamodb import Door, Turn, door, error, hangs, tables_behind


@pytest.fixture(scope="module")
def names() -> Iterator[tuple[Door, EdgeConfig]]:
    """A door to three tables, and their names."""
    with door() as opened, tables_behind(opened) as tables:
        yield (
            opened,
            EdgeConfig(
                region="us-east-1",
                control=tables.control,
                counters=tables.counters,
                secrets_region="us-east-1",
                secrets_prefix="keybroker",
                issuer=BROKER,
                edge_url="https://keys.example.com",
            ),
        )


def over(names: tuple[Door, EdgeConfig], credentials: Credentials | None, **changes: str) -> Stage:
    """A stage of these names."""
    opened, config = names
    environ = {"AWS_ENDPOINT_URL": str(opened.client.meta.endpoint_url)}
    return Stage(config._replace(**changes), lambda: credentials, environ)


MADE_UP = Credentials("AKIDEXAMPLE", "made-up")


def test_both_tables_are_looked_at(names: tuple[Door, EdgeConfig]) -> None:
    """A look is one batch of both tables, which every call needs."""
    stage = over(names, MADE_UP)
    with names[0].failing(lambda turn: turn.send(turn.served())) as arrived:
        stage.look()
    assert arrived == ["BatchGetItem"]
    stage.close()


@pytest.mark.parametrize("missing", ["control", "counters"])
def test_a_table_that_is_not_there_is_out_of_reach(names: tuple[Door, EdgeConfig], missing: str) -> None:
    """A look fails if either table does not answer, as every call would."""
    stage = over(names, MADE_UP, **{missing: "nothing"})
    with pytest.raises(StateUnavailable, match=r"^state_unavailable$"):
        stage.look()
    stage.close()


def test_a_look_without_credentials_fails_at_once(names: tuple[Door, EdgeConfig]) -> None:
    """Without credentials nothing is sent."""
    stage = over(names, None)
    with names[0].failing(hangs) as arrived, pytest.raises(Unavailable, match=r"^state_unavailable$"):
        stage.look()
    assert arrived == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", [hangs, error("AccessDeniedException")])
def test_a_look_ends_in_a_round_trip_s_time(names: tuple[Door, EdgeConfig], fault: object) -> None:
    """Tables that hang or refuse are known to be out of reach within seconds."""
    stage, began = over(names, MADE_UP), time.monotonic()
    with names[0].failing(fault), pytest.raises(Unavailable, match=r"^state_unavailable$"):  # type: ignore[arg-type]  # a parameter
        stage.look()
    assert time.monotonic() - began < 5
    stage.close()


def test_a_place_that_is_none_is_refused_at_the_start(names: tuple[Door, EdgeConfig]) -> None:
    """An endpoint without a host is a fault of the start, not of the first call."""
    with pytest.raises(ValueError, match="the endpoint of dynamodb is no URL"):
        Stage(names[1], lambda: MADE_UP, {"AWS_ENDPOINT_URL": "dynamodb"})


def said(stage: Stage) -> list[str]:
    """What a check finds."""
    try:
        return list(stage.check())
    finally:
        stage.close()


@pytest.mark.parametrize("missing", ["control", "counters"])
def test_a_check_names_the_table_that_is_not_there(names: tuple[Door, EdgeConfig], missing: str) -> None:
    """A check says which table of which region AWS does not have."""
    with pytest.raises(StageUnusable) as caught:
        said(over(names, MADE_UP, **{missing: "nothing"}))
    assert caught.value.hint == "the table nothing in us-east-1: ResourceNotFoundException"


@pytest.mark.parametrize("code", ["AccessDeniedException", "UnrecognizedClientException"])
def test_a_check_says_that_the_role_may_not(names: tuple[Door, EdgeConfig], code: str) -> None:
    """What AWS denies is no outage: waiting does not mend it."""
    with names[0].failing(error(code)), pytest.raises(StageUnusable, match=r"^stage_unusable$") as caught:
        said(over(names, MADE_UP))
    assert caught.value.hint.endswith(f": {code}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "cause"),
    [(hangs, "TimedOut"), (error("ProvisionedThroughputExceededException"), "ProvisionedThroughputExceededException")],
)
def test_a_check_takes_an_outage_for_one(names: tuple[Door, EdgeConfig], fault: object, cause: str) -> None:
    """Tables that do not answer, or are throttled, may answer later; it is known in bounded time."""
    began = time.monotonic()
    with names[0].failing(fault), pytest.raises(StateUnavailable, match=r"^state_unavailable$") as caught:  # type: ignore[arg-type]  # a parameter
        said(over(names, MADE_UP))
    assert caught.value.hint.endswith(f": {cause}")
    assert time.monotonic() - began < 5


def test_only_what_its_doors_use_is_read(names: tuple[Door, EdgeConfig]) -> None:
    """A broker's role need not read the counters, nor an edge's the ledger: a look asks for neither."""
    opened, config = names
    broker = BrokerConfig("public", "us-east-1", config.control, "the-ledger")
    environ = {"AWS_ENDPOINT_URL": str(opened.client.meta.endpoint_url)}
    asked: list[set[str]] = []

    def note(turn: Turn) -> None:
        asked.append(set(turn.body["RequestItems"]))
        turn.send(turn.served())

    for told in ({"broker": broker, "has_edge": False}, {}):
        stage = Stage(config, lambda: MADE_UP, environ, **told)  # type: ignore[arg-type]  # parameters of the test
        with opened.failing(note), contextlib.suppress(StateUnavailable):
            stage.look()
        stage.close()
    assert asked == [{config.control, "the-ledger"}, {config.control, config.counters}]


def test_the_first_call_finds_connections(names: tuple[Door, EdgeConfig]) -> None:
    """An edge has read the signing keys, and is connected, before its first call."""
    stage = over(names, MADE_UP)
    with names[0].failing(lambda turn: turn.send(turn.served())) as arrived:
        stage.edge_ports()
    assert arrived == ["GetItem"]
    kept = {name: len(kept) for name, kept in stage._client._kept.items()}
    assert kept == {"dynamodb": 3, "kms": 0, "secretsmanager": 1}, "KMS is for minted values, each once"
    stage.close()


@pytest.mark.slow
def test_a_start_without_tables_waits_for_none(names: tuple[Door, EdgeConfig]) -> None:
    """Tables that hang hold up an edge's start by no more than a call's time."""
    stage, began = over(names, MADE_UP), time.monotonic()
    with names[0].failing(hangs):
        stage.edge_ports()
    assert time.monotonic() - began < CALL_SECONDS + 2
    stage.close()
