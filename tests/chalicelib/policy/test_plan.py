from __future__ import annotations

import itertools
import json

import pytest

from chalicelib.policy import compile as policy
from chalicelib.policy import plan
from chalicelib.policy.compile import Policy
from chalicelib.policy.errors import PolicyChanged
from chalicelib.policy.plan import Step
from tests.parts import DIALECT, GRANTS, ISSUERS, grant


def parsed(text: str) -> Policy:
    return policy.parse(text, rules=DIALECT)


def change(before: str, after: str) -> Step:
    """The one step from one policy to another."""
    [step] = plan.plan(parsed(before), parsed(after))
    return step


def test_ended_tokens() -> None:
    """A plan says whose tokens end: of grants and issuers that may admit fewer identities, and of nothing else."""
    more, less = (grant(to=f"{{issuer: ci, claims: {{repository_id: {ids}}}}}") for ids in ('["1", "2"]', '"1"'))
    assert (change(more, less).ends_tokens, change(less, more).ends_tokens) == (True, False)
    assert not change(grant(ttl="15m"), grant(ttl="5m")).ends_tokens
    other = change(more, more.replace("audience: keybroker}", "audience: other}", 1))
    assert (other.what, other.ends_tokens) == ("issuer", True)
    without = (ISSUERS + GRANTS[: GRANTS.index("  pods:")]).replace("  anthropic: {provider: anthropic}\n", "")
    removed = plan.plan(parsed(ISSUERS + GRANTS), parsed(without))
    assert [(one.what, one.change, one.ends_tokens) for one in removed] == [
        ("grant", "remove", True),
        ("key", "remove", False),
    ]


def test_another_type_is_a_change() -> None:
    """A number in the place of a boolean is another value, though the two are equal in Python."""
    written = ("true", "1", "{contains: true}", "{contains: 1}")
    texts = [grant(to=f'{{issuer: ci, claims: {{repository_id: "1", flag: {value}}}}}') for value in written]
    for before, after in itertools.permutations(texts, 2):
        step = change(before, after)
        assert (step.change, step.ends_tokens, list(step.fields)) == ("change", True, ["claims"])


def test_lists_and_beginnings_are_told_apart() -> None:
    """A plan shows `contains` as the file has it, and a longer beginning as narrower."""
    more, less = (grant(to=f'{{issuer: ci, claims: {{g: {{contains: "a/{text}*"}}}}}}') for text in ("v", "v1"))
    step = change(more, less)
    assert (step.change, step.ends_tokens) == ("narrow", True)
    assert json.loads(json.dumps(step.to_json()))["fields"] == {
        "claims": [[[["g"], [{"contains": "a/v*"}]]], [[["g"], [{"contains": "a/v1*"}]]]]
    }
    assert (change(less, more).change, change(less, more).ends_tokens) == ("widen", False)


def test_same_policy() -> None:
    """The same policy changes nothing, in whatever form it is written."""
    text = ISSUERS + GRANTS
    assert plan.plan(parsed(text), parsed("# a comment\n" + text.replace('"9919"', "'9919'"))) == ()


def test_first_policy() -> None:
    """The first policy adds everything."""
    steps = plan.plan(None, parsed(ISSUERS + GRANTS))
    assert [(one.what, one.name, one.change) for one in steps] == [
        ("grant", "app", "add"),
        ("grant", "pods", "add"),
        ("issuer", "ci", "add"),
        ("issuer", "cluster", "add"),
        ("key", "anthropic", "add"),
        ("key", "openai", "add"),
    ]
    assert steps[0].fields["key"] == (None, "openai")


def test_removals() -> None:
    """A removal has the old values."""
    before = ISSUERS + GRANTS
    after = ISSUERS + GRANTS[: GRANTS.index("  pods:")]
    step = change(before, after)
    assert (step.what, step.name, step.change) == ("grant", "pods", "remove")
    assert step.fields["key"] == ("openai", None)


_USAGE = "usage: [900 tokens/day]"
FULL = {
    "models": "[gpt-5, gpt-5-mini]",
    "source_ips": "[198.51.100.0/24, 203.0.113.0/24]",
    "ttl": "15m",
    "total": "{calls: 1000/day, usage: 9000 tokens/day}",
    "quota": "{tokens: 100/hour, calls: [100/minute, 1000/day], usage: [900 tokens/day]}",
}


@pytest.mark.parametrize(
    ("less", "field"),
    [
        ({"to": '{issuer: ci, claims: {repository_owner_id: "9919", ref: refs/heads/main}}'}, "claims"),
        ({"to": '{issuer: ci, claims: {repository_owner_id: "9919", event_name: push}}'}, "claims"),
        ({"scope": '["GET:/v1/models"]'}, "scope"),
        ({"scope": '["POST:/v1/chat/completions", "GET:/v1/models", "GET:/v1/models/gpt-5"]'}, "scope"),
        ({"models": "[gpt-5]"}, "models"),
        ({"source_ips": "[198.51.100.0/24]"}, "source_ips"),
        ({"ttl": "10m"}, "ttl"),
        ({"quota": f"{{tokens: 99/hour, calls: [100/minute, 1000/day], {_USAGE}}}"}, "token_limits"),
        ({"quota": f"{{tokens: [100/hour, 200/day], calls: [100/minute, 1000/day], {_USAGE}}}"}, "token_limits"),
        ({"quota": f"{{tokens: 100/hour, calls: [100/minute, 999/day], {_USAGE}}}"}, "call_limits"),
        ({"quota": "{tokens: 100/hour, calls: [100/minute, 1000/day], usage: 899 tokens/day}"}, "budgets"),
        ({"total": "{calls: 999/day, usage: 9000 tokens/day}"}, "total_limits"),
        ({"total": "{calls: [1000/day, 5/minute], usage: 9000 tokens/day}"}, "total_limits"),
        ({"total": "{calls: 1000/day, usage: [9000 tokens/day, 500 tokens/minute]}"}, "budgets"),
    ],
)
def test_narrow_and_widen(less: dict[str, str], field: str) -> None:
    """Less of one field narrows the grant, and the way back widens it."""
    more, narrower = grant(**FULL), grant(**{**FULL, **less})
    step = change(more, narrower)
    assert (step.change, set(step.fields)) == ("narrow", {field})
    assert change(narrower, more).change == "widen"


@pytest.mark.parametrize("field", ["models", "source_ips", "total"])
def test_new_limit_narrows(field: str) -> None:
    """A limit for a window that had none narrows the grant."""
    without = grant(**{name: value for name, value in FULL.items() if name != field})
    assert change(without, grant(**FULL)).change == "narrow"
    assert change(grant(**FULL), without).change == "widen"


@pytest.mark.parametrize(
    "other",
    [
        {"to": '{issuer: ci, claims: {repository_owner_id: "9918"}}'},
        {"to": '{issuer: cluster, claims: {sub: "system:serviceaccount:prod:web"}}'},
        {"key": "anthropic"},
        {"scope": '["GET:/v1/models"]', "ttl": "20m"},
        {"scope": '["GET:/v1/models", "POST:/v1/embeddings"]'},
        {"quota": "{tokens: 99/hour, calls: [101/minute, 1000/day]}"},
        {"quota": "{tokens: 100/day, calls: [100/minute, 1000/day]}"},
        {"models": "[gpt-5, o9]"},
        # Listed, it is admitted, and before it was not.
        {"to": '{issuer: ci, claims: {repository_owner_id: "9919", event_name: pull_request_target}}'},
    ],
)
def test_more_and_less_is_a_change(other: dict[str, str]) -> None:
    """More of one field and less of another is a change."""
    assert change(grant(**FULL), grant(**{**FULL, **other})).change == "change"


def test_order_is_a_change() -> None:
    """The same values in another order are neither more nor less."""
    scope = '["GET:/v1/models/*", "GET:/v1/models", "POST:/v1/chat/completions"]'
    assert change(grant(**FULL), grant(**{**FULL, "scope": scope})).change == "change"


def test_removals_and_narrowings_come_first() -> None:
    """Removals and narrowings come first."""

    def named(name: str, **fields: str) -> str:
        return grant(**fields).split("grants:\n")[1].replace("app:", f"{name}:")

    wide, small = {"ttl": "15m"}, {"ttl": "10m"}
    before = "".join((named("w", **small), named("n", **wide), named("c", **wide), named("r")))
    after = "".join((named("a"), named("c", key="anthropic"), named("n", **small), named("w", **wide)))
    head = ISSUERS + "grants:\n"
    keys = ISSUERS.replace("  anthropic: {provider: anthropic}", "  anthropic: {provider: generic}")
    steps = plan.plan(parsed(head + before), parsed(keys + "grants:\n" + after))
    assert [(one.what, one.name, one.change) for one in steps] == [
        ("grant", "r", "remove"),
        ("grant", "n", "narrow"),
        ("grant", "c", "change"),
        ("key", "anthropic", "change"),
        ("grant", "w", "widen"),
        ("grant", "a", "add"),
    ]


def test_issuer_change() -> None:
    """An issuer's change names its fields."""
    step = change(
        ISSUERS + GRANTS, (ISSUERS + GRANTS).replace("preset: ci, audience: keybroker", "preset: ci, audience: kb")
    )
    assert (step.what, step.name, step.change) == ("issuer", "ci", "change")
    assert dict(step.fields) == {"audience": ("keybroker", "kb")}


def test_a_step_is_json() -> None:
    step = change(grant(**FULL), grant(**{**FULL, "ttl": "10m"}))
    assert json.loads(json.dumps(step.to_json())) == {
        "what": "grant",
        "name": "app",
        "change": "narrow",
        "fields": {"ttl": [900, 600]},
        "ends_tokens": False,
    }


def test_lost_race() -> None:
    """An apply that lost the race is told which version is in force."""
    refusal = PolicyChanged(3, 5)
    assert (refusal.reason, refusal.error, refusal.status) == ("policy_changed", "policy_changed", 412)
    assert refusal.description == "version 5 is in force, not 3; look at it and plan again"
