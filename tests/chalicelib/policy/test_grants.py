"""Grants: which one is chosen, what a caller is told, how a scope is narrowed, and that storing changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.budget import BudgetLimit
from chalicelib.errors import Refusal
from chalicelib.patterns import scope_covered
from chalicelib.policy.accepted_values import AcceptedValues, Contains
from chalicelib.policy.grants import Difference, Grant, choose, differences, narrow
from chalicelib.quota import Limit
from tests.refused import refused

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


def not_chosen(*grants: Grant, **claims: object) -> Refusal:
    return refused(lambda: choose(grants, {**CLAIMS, **claims}, (), "openai"))


# Storing


@pytest.mark.parametrize(
    "one",
    [
        grant(),
        grant(models=("gpt-5-mini",), source_ips=("198.51.100.0/24",), total_limits=(Limit(9, "day"),)),
        grant(claims=((("a", "b/c"), (True, 1, "true", "1", -5)),)),
        grant(models=(), source_ips=()),
        grant(budgets=(BudgetLimit("usage", 9, "day"), BudgetLimit("usage", 99, "day", shared=True))),
    ],
    ids=["plain", "everything", "nested and typed", "empty lists are not none", "budgets"],
)
def test_stored_form(one: Grant) -> None:
    """A grant is read back as it was stored, with its types."""
    again = Grant.from_json(json.loads(json.dumps(one.to_json())))
    assert again == one
    assert repr(again) == repr(one)  # for True == 1


def test_a_grant_without_budgets_is_stored_as_before() -> None:
    """The text of a grant without budgets is what it was before there were any, so that nothing has to be written anew."""
    assert "budgets" not in grant().to_json()


# Choosing


def test_the_one_grant_that_admits_is_chosen() -> None:
    """The one grant that admits the claims is chosen."""
    other = grant("other", claims=((("repository_id",), ("5",)),))
    assert choose([other, grant()], CLAIMS, (), "openai").name == "app"


def test_several_grants_are_named() -> None:
    """Where several grants admit the claims, none is chosen and all are named."""
    refusal = not_chosen(grant("b"), grant("a"))
    assert (refusal.reason, refusal.error, refusal.status) == ("several_grants", "invalid_request", 400)
    assert "(a, b)" in refusal.description


def test_no_grant_names_the_nearest() -> None:
    """A refusal names the nearest grant and the caller's own values."""
    far = grant("far", claims=((("repository_id",), ("5",)), (("ref",), ("refs/heads/secret-plan",))))
    refusal = not_chosen(far, grant("near"), ref="refs/heads/next")
    assert (refusal.reason, refusal.error, refusal.status) == ("no_grant", "invalid_target", 400)
    assert refusal.description == (
        "no grant admits this identity for 'openai'; nearest is 'near', where your claim 'ref' is 'refs/heads/next'"
    )


def test_nothing_that_a_grant_wants_is_told_to_a_caller() -> None:
    """A caller never learns what a grant asks for."""
    secret = grant(claims=((("ref",), ("refs/heads/secret-plan",)), (("environment",), ("hidden", "*"))))
    refusal = not_chosen(secret)
    assert "secret" not in refusal.description
    assert "hidden" not in refusal.description


def test_without_any_grant_nothing_is_named() -> None:
    """Without any grant for the key, the refusal names none."""
    assert not_chosen().description == "no grant admits this identity for 'openai'"


def test_at_most_three_differences() -> None:
    """At most three differences are told, and long values are cut."""
    many = grant(claims=tuple(((f"c{number}",), ("x",)) for number in range(9)))
    told = not_chosen(many, c0="y" * 5_000).description
    assert told.count("your claim") == 3
    assert len(told) < 600


def test_difference_for_caller() -> None:
    """A difference says that the claim is missing, or which value was found."""
    assert Difference(("a", "b"), ("x",), None).for_caller() == "your claim 'a.b' is missing"
    assert Difference(("a",), ("x",), found=True).for_caller() == "your claim 'a' is True"
    assert Difference(("a",), ("x",), "x\ny").for_caller() == "your claim 'a' is 'x\\ny'"


def test_all_differences() -> None:
    """Every difference is there for administrators."""
    found = differences(grant(), {"ref": "refs/heads/next"}, ())
    assert found == (
        Difference(("repository_id",), ("1234",), None),
        Difference(("ref",), ("refs/heads/main",), "refs/heads/next"),
    )


def test_refused_event() -> None:
    """A refused event is a difference, though the grant does not name the claim."""
    rules = (("event_name", ("workflow_run",)),)
    assert differences(grant(), {**CLAIMS, "event_name": "workflow_run"}, rules) == (
        Difference(("event_name",), (), "workflow_run"),
    )


@pytest.mark.parametrize(
    ("listed", "event", "is_admitted"),
    [
        ({}, ["pull_request_target"], False),
        ({}, ["push", "workflow_run"], False),
        ({}, [["push", ["workflow_run"]]], False),
        ({}, ["push"], True),
        ({"event_name": (Contains("push"),)}, ["push", "workflow_run"], False),
        ({"event_name": (Contains("push"), "workflow_run")}, ["push", "workflow_run"], False),
        ({"event_name": (Contains("workflow_*"),)}, ["workflow_run"], False),
        ({"event_name": (Contains("workflow_run"),)}, ["workflow_run"], True),
        ({"event_name": (Contains("workflow_run"),)}, ["workflow_run", "pull_request_target"], False),
        ({"event_name": (Contains("workflow_run"),)}, "workflow_run", False),
    ],
)
def test_a_refused_value_in_a_list(listed: Mapping[str, AcceptedValues], event: object, is_admitted: bool) -> None:  # noqa: FBT001  of the table
    """A list that contains a refused value is refused, unless the grant lists that very value as one in a list."""
    rules = (("event_name", ("pull_request_target", "workflow_run")),)
    claims = tuple(((name,), values) for name, values in listed.items())
    one = grant()._replace(claims=(*grant().claims, *claims))
    assert (differences(one, {**CLAIMS, "event_name": event}, rules) == ()) is is_admitted


# Scope


def test_default_scope() -> None:
    """Without a requested scope, the token has the grant's, in its order."""
    assert narrow(grant(), None) == ("GET:/v1/models", "GET:/v1/models/*", "POST:/v1/responses")


def test_requested_scope() -> None:
    """A requested scope within the grant is the token's scope."""
    wish = frozenset({"POST:/v1/responses", "GET:/v1/models/gpt-5-mini"})
    assert narrow(grant(), wish) == ("GET:/v1/models/gpt-5-mini", "POST:/v1/responses")


def test_scope_beyond_the_grant() -> None:
    """A requested scope beyond the grant is refused as a whole and quoted."""
    with pytest.raises(Refusal) as caught:
        narrow(grant(), frozenset({"POST:/v1/responses", "DELETE:/v1/files/x", "GET:/v1/*"}))
    assert (caught.value.reason, caught.value.error) == ("scope_beyond_grant", "invalid_scope")
    assert caught.value.description == "beyond the grant: DELETE:/v1/files/x GET:/v1/*"


SCOPES = ["GET:/v1/models", "GET:/v1/models/*", "GET:/v1/models/a", "GET:/v1/*/a", "POST:/v1/responses", "*", ""]


@given(st.frozensets(st.sampled_from(SCOPES), min_size=1), st.lists(st.sampled_from(SCOPES[:5]), min_size=1))
def test_a_scope_is_only_ever_narrowed(wish: frozenset[str], has: list[str]) -> None:
    """A scope is only ever narrowed."""
    try:
        found = narrow(grant(scope=tuple(has)), wish)
    except Refusal:
        assert not scope_covered(wish, has)
    else:
        assert scope_covered(found, has)
        assert set(found) == wish
