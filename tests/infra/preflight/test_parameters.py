from __future__ import annotations

import pytest

from infra.preflight import parameters
from infra.stage import STACKS, Stage


def found(stack: str, **chosen: str) -> list[str]:
    return [one.text for one in parameters.findings(Stage("prod", "eu-central-1", {stack: chosen}))]


def test_defaults_pass() -> None:
    """Every parameter's own default is one that its template allows."""
    for stack in STACKS:
        for name, one in parameters.of(stack).items():
            if "Default" in one and name not in parameters.OURS:
                assert found(stack, **{name: str(one["Default"])}) == [], (stack, name)


def test_a_name_that_is_not_a_parameter_stops() -> None:
    """CloudFormation ignores a parameter that a template does not have, so a mistyped limit would never hold."""
    (text,) = found("public", RequestPerSecond="5")
    assert text.startswith("the stage's file: public.RequestPerSecond is not a parameter; public has Burst, ")


@pytest.mark.parametrize(("stack", "name"), [("edge", "BrokerHost"), ("public", "Url"), ("logs", "Home")])
def test_what_deploy_finds_out_is_not_set(stack: str, name: str) -> None:
    assert found(stack, **{name: "x"}) == [f"the stage's file: {stack}.{name} is set by make deploy itself: remove it"]


@pytest.mark.parametrize(
    ("stack", "name", "value", "fault"),
    [
        ("logs", "Days", "100", "allowed are 7, 14"),
        ("public", "Signs", "C", "allowed are A, B"),
        ("public", "Burst", "many", "it must be a number"),
        ("public", "Burst", "0", "1 is the least"),
        ("public", "RequestsPerAddress", "3000000000", "2000000000 is the most"),
        ("public", "RequestsPerAddress", "9", "WAF takes 10 or more"),
        ("edge", "Origins", "github=http://api.github.com", "names of keys with their origins"),
    ],
)
def test_a_value_that_is_not_allowed_stops(stack: str, name: str, value: str, fault: str) -> None:
    (text,) = found(stack, **{name: value})
    assert text.startswith(f"the stage's file: {stack}.{name} is {value!r}: {fault}")
