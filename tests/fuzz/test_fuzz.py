"""A little of `make fuzz`, always with the same seed, so that it says the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.fuzz.every import everything
from tests.fuzz.target import Target

SEED = 20_261_124
EXAMPLES = {
    "edge": 150,
    "edge-broken": 150,
    "issued-token": 250,
    "subject-token": 250,
    "token-request": 250,
    "policy": 60,
}
EXAMPLES["result"] = 250


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
