"""Grants: which one is chosen, what a caller is told, how a scope is narrowed, and that storing changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.errors import Refusal
from chalicelib.patterns import covered
from chalicelib.policy.grants import Difference, Grant, choose, differences, narrow
from chalicelib.quota import Limit

STEADY = settings(derandomize=True, deadline=None)  # the same examples on every machine, however busy
CLAIMS = {"repository_id": "1234", "ref": "refs/heads/main", "event_name": "push"}


def grant(name: str = "app", **more: Any) -> Grant:  # noqa: ANN401  Grant's fields
    fields: dict[str, Any] = {
        "key": "openai",
        "issuer": "https://idp.example.com",
        "claims": ((("repository_id",), ("1234",)), (("ref",), ("refs/heads/main",))),
        "scope": ("GET:/v1/models", "GET:/v1/models/*", "POST:/v1/responses"),
        "ttl": 900,
        "token_limits": (Limit(30, "hour"),),
        "call_limits": (Limit(120, "minute"),),
        **more,
    }
    return Grant(name=name, **fields)


def refused(*grants: Grant, **claims: object) -> Refusal:
    with pytest.raises(Refusal) as caught:
        choose(grants, {**CLAIMS, **claims}, (), "openai")
    return caught.value


# Storing


@pytest.mark.parametrize(
    "one",
    [
        grant(),
        grant(models=("gpt-5-mini",), source_ips=("198.51.100.0/24",), total_limits=(Limit(9, "day"),)),
        grant(claims=((("a", "b/c"), (True, 1, "true", "1", -5)),)),
        grant(models=(), source_ips=()),
    ],
    ids=["plain", "everything", "nested and typed", "empty lists are not none"],
)
def test_a_grant_is_read_back_as_it_was_stored_types_and_all(one: Grant) -> None:
    again = Grant.from_json(json.loads(json.dumps(one.to_json())))
    assert again == one
    assert repr(again) == repr(one)  # for True == 1


# Choosing


def test_the_one_grant_that_admits_is_chosen() -> None:
    other = grant("other", claims=((("repository_id",), ("5",)),))
    assert choose([other, grant()], CLAIMS, (), "openai").name == "app"


def test_of_several_that_admit_none_is_chosen_and_all_are_named() -> None:
    refusal = refused(grant("b"), grant("a"))
    assert (refusal.reason, refusal.error, refusal.status) == ("several_grants", "invalid_request", 400)
    assert "(a, b)" in refusal.description


def test_none_is_a_refusal_that_names_the_nearest_and_the_callers_own_values() -> None:
    far = grant("far", claims=((("repository_id",), ("5",)), (("ref",), ("refs/heads/secret-plan",))))
    refusal = refused(far, grant("near"), ref="refs/heads/next")
    assert (refusal.reason, refusal.error, refusal.status) == ("no_grant", "invalid_target", 400)
    assert refusal.description == (
        "no grant admits this identity for 'openai'; nearest is 'near', where your claim 'ref' is 'refs/heads/next'"
    )


def test_nothing_that_a_grant_wants_is_told_to_a_caller() -> None:
    secret = grant(claims=((("ref",), ("refs/heads/secret-plan",)), (("environment",), ("hidden", "*"))))
    refusal = refused(secret)
    assert "secret" not in refusal.description
    assert "hidden" not in refusal.description


def test_without_any_grant_nothing_is_named() -> None:
    assert refused().description == "no grant admits this identity for 'openai'"


def test_at_most_three_differences_are_told_each_cut() -> None:
    many = grant(claims=tuple(((f"c{number}",), ("x",)) for number in range(9)))
    told = refused(many, c0="y" * 5_000).description
    assert told.count("your claim") == 3
    assert len(told) < 600


def test_a_difference_says_missing_or_what_was_found() -> None:
    assert Difference(("a", "b"), ("x",), None).for_caller() == "your claim 'a.b' is missing"
    assert Difference(("a",), ("x",), found=True).for_caller() == "your claim 'a' is True"
    assert Difference(("a",), ("x",), "x\ny").for_caller() == "your claim 'a' is 'x\\ny'"


def test_every_difference_of_a_grant_is_told_to_an_administrator() -> None:
    found = differences(grant(), {"ref": "refs/heads/next"}, ())
    assert found == (
        Difference(("repository_id",), ("1234",), None),
        Difference(("ref",), ("refs/heads/main",), "refs/heads/next"),
    )


def test_a_refused_event_is_a_difference_though_the_grant_does_not_name_it() -> None:
    rules = (("event_name", ("workflow_run",)),)
    assert differences(grant(), {**CLAIMS, "event_name": "workflow_run"}, rules) == (
        Difference(("event_name",), (), "workflow_run"),
    )


# Scope


def test_without_a_wish_the_scope_is_the_grants_in_its_order() -> None:
    assert narrow(grant(), None) == ("GET:/v1/models", "GET:/v1/models/*", "POST:/v1/responses")


def test_a_wish_within_the_grant_is_the_scope() -> None:
    wish = frozenset({"POST:/v1/responses", "GET:/v1/models/gpt-5-mini"})
    assert narrow(grant(), wish) == ("GET:/v1/models/gpt-5-mini", "POST:/v1/responses")


def test_a_wish_beyond_the_grant_is_refused_whole_and_quoted() -> None:
    with pytest.raises(Refusal) as caught:
        narrow(grant(), frozenset({"POST:/v1/responses", "DELETE:/v1/files/x", "GET:/v1/*"}))
    assert (caught.value.reason, caught.value.error) == ("scope_beyond_grant", "invalid_scope")
    assert caught.value.description == "beyond the grant: DELETE:/v1/files/x GET:/v1/*"


SCOPES = ["GET:/v1/models", "GET:/v1/models/*", "GET:/v1/models/a", "GET:/v1/*/a", "POST:/v1/responses", "*", ""]


@STEADY
@given(st.frozensets(st.sampled_from(SCOPES), min_size=1), st.lists(st.sampled_from(SCOPES[:5]), min_size=1))
def test_a_scope_is_only_ever_narrowed(wish: frozenset[str], has: list[str]) -> None:
    try:
        found = narrow(grant(scope=tuple(has)), wish)
    except Refusal:
        assert not covered(wish, has)
    else:
        assert covered(found, has)
        assert set(found) == wish
