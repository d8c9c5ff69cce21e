"""A little of `make fuzz`, always with the same seed, so that it says the same on every machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from local.simulator.function_result import MalformedResultError
from tests.fuzz import edge_targets, wire_targets
from tests.fuzz.edge_targets import KEYS, Stage
from tests.fuzz.every import everything
from tests.fuzz.target import Target

pytestmark = pytest.mark.slow  # some thousand draws for each target

SEED = 20_261_124
EXAMPLES = {
    "edge": 150,
    "edge-headers": 150,
    "edge-broken": 150,
    "issued-token": 250,
    "subject-token": 250,
    "token-request": 250,
    "policy": 60,
}
EXAMPLES |= {"result": 250, "wire": 150, "path": 250}


@pytest.fixture(scope="module")
def targets() -> Iterator[Mapping[str, Target]]:
    with everything() as found:
        yield found


def test_everything_that_is_fuzzed_is_tried_here(targets: Mapping[str, Target]) -> None:
    assert targets.keys() == EXAMPLES.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_that_is_drawn_breaks_a_rule(targets: Mapping[str, Target], name: str) -> None:
    targets[name].attempt(SEED, EXAMPLES[name])()
    assert targets[name].tally.tried >= EXAMPLES[name] // 2


def _sent_on(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Callable[[Stage], None]:
    """Plant a fault: what is sent on is changed. change: takes the result, and the request that it was made of."""

    def plant(stage: Stage) -> None:
        ours = stage.handle

        def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
            result = ours(event, context)
            if "origin" in result:
                change(result, event["Records"][0]["cf"]["request"])
            return result

        stage.handle = handle

    return plant


def _refused(change: Callable[[dict[str, Any], Stage], object]) -> Callable[[Stage], None]:
    """Plant a fault: what is refused is changed."""

    def plant(stage: Stage) -> None:
        ours = stage.handle

        def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
            result = ours(event, context)
            if "status" in result:
                change(result, stage)
            return result

        stage.handle = handle

    return plant


@pytest.mark.parametrize(
    "plant",
    [
        _sent_on(
            lambda result, asked: result["origin"]["custom"].update(domainName=asked["origin"]["custom"]["domainName"])
        ),
        _sent_on(
            lambda result, asked: result["origin"]["custom"].update(
                customHeaders=asked["origin"]["custom"]["customHeaders"]
            )
        ),
        _sent_on(
            lambda result, asked: result["headers"].update({"api-key": asked["headers"].get("authorization", [])})
        ),
        _sent_on(lambda result, _asked: result["headers"].update({"x-real-ip": [{"value": "10.0.0.1"}]})),
        _sent_on(lambda result, _asked: result["headers"].update({"x_vendor_key": [{"value": "mine"}]})),
        _sent_on(lambda result, _asked: result["headers"].update({"x.api_key": [{"value": "a-token"}]})),
        _sent_on(lambda result, _asked: result["headers"].update({"x_http-method_override": [{"value": "DELETE"}]})),
        _sent_on(lambda result, _asked: result["headers"].pop("via")),
        _sent_on(lambda result, _asked: result["origin"]["custom"].update(port=8080)),
        _refused(lambda result, _stage: result.update(body=result["body"] + KEYS["openai"])),
        _refused(lambda _result, stage: stage.log.append("twice")),
        _refused(lambda result, _stage: result["headers"].update({"via": [{"value": "1.1 us"}]})),
        _refused(lambda result, _stage: result.update(status=403)),
    ],
)
def test_a_fault_that_is_planted_is_found(plant: Callable[[Stage], None]) -> None:
    with edge_targets.staged() as stage:
        plant(stage)
        (edge, *_) = stage.targets()
        with pytest.raises((AssertionError, MalformedResultError, ExceptionGroup)):  # the last: it breaks several rules
            edge.attempt(SEED, 60, shrink=False)()


@pytest.mark.parametrize(
    "change",
    [
        lambda result: result.update(uri=result["uri"] + "/b"),
        lambda result: result.update(querystring="c=d"),
        lambda result: result["headers"].pop("x-a", None),
        lambda result: result["headers"].update({"x-c": [{"value": "added"}]}),
        lambda result: result["headers"]["x-key"].append({"value": "another"}),
    ],
)
def test_a_fault_on_the_wire_that_is_planted_is_found(change: Callable[[dict[str, Any]], object]) -> None:
    with wire_targets.wired() as wire:
        ours = wire.decide

        def decide(event: dict[str, Any], context: object) -> dict[str, Any]:
            result = ours(event, context)
            change(result)
            return result

        wire.decide = decide  # type: ignore[method-assign]  # that is the fault
        (target,) = wire.targets()
        with pytest.raises((AssertionError, ExceptionGroup)):
            target.attempt(SEED, 150, shrink=False)()
