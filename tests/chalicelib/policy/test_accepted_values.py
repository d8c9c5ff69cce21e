"""What a grant accepts as a claim's value: one value, or a list that contains one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.policy.accepted_values import (
    AcceptedValue,
    Contains,
    Value,
    from_json,
    is_covered,
    is_pattern,
    meets,
    to_json,
)

VALUES: list[Value] = ["a", "a/b", "a/*", "a/b*", "1", "true", 1, 0, True, False]
found = st.recursive(
    st.sampled_from([*VALUES, 1.0, None, "", "ab"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "1"]), inner, max_size=2),
    max_leaves=5,
)
accepted = st.sampled_from([*VALUES, *map(Contains, VALUES)])


@given(st.sampled_from(VALUES), st.lists(found, max_size=4))
def test_a_list_contains_what_one_element_is(value: Value, elements: list[Any]) -> None:
    """A list contains a value if one of its own elements would match it; order and repeats say nothing."""
    expected = any(meets(value, one) for one in elements)
    assert meets(Contains(value), elements) is expected
    assert meets(Contains(value), [*reversed(elements), *elements]) is expected


@given(st.sampled_from(VALUES), found.filter(lambda one: not isinstance(one, list)))
def test_only_a_list_contains(value: Value, other: object) -> None:
    """Text contains no part of itself, and a mapping none of its names: only a list has elements."""
    assert not meets(Contains(value), other)


@pytest.mark.parametrize(
    "other", ["reporter", "my reporter", {"reporter": True}, {"contains": "reporter"}, None, 1, True]
)
def test_what_is_not_a_list_contains_nothing(other: object) -> None:
    """Neither the value itself, nor text around it, nor a mapping with it as a name contains it."""
    assert not meets(Contains("reporter"), other)


@given(st.sampled_from(VALUES), st.lists(found, max_size=3))
def test_a_plain_value_never_matches_a_list(value: Value, elements: list[Any]) -> None:
    """A list is not the one value that it has."""
    assert not meets(value, elements)
    assert not meets(value, [value])


def test_elements_keep_their_types() -> None:
    """An element is compared with its type, as any value is."""
    for wanted in (True, 1, "1", "true"):
        for value in (True, 1, 1.0, "1", "true", None, [wanted]):
            alike = type(wanted) is type(value) and wanted == value
            assert meets(Contains(wanted), ["x", value]) is alike, (wanted, value)


@given(accepted, accepted, found)
def test_covered_accepts_no_more(narrow: AcceptedValue, wide: AcceptedValue, value: object) -> None:
    """What is covered accepts nothing that its cover does not."""
    if is_covered(narrow, [wide]) and meets(narrow, value):
        assert meets(wide, value)


@pytest.mark.parametrize(
    ("narrow", "wide", "answer"),
    [
        (Contains("a"), Contains("a"), True),
        (Contains("t/a"), Contains("t/*"), True),
        (Contains("t/ab"), Contains("t/a*"), True),
        (Contains("t/ab*"), Contains("t/a*"), True),
        (Contains("t/*"), Contains("t/a*"), False),
        (Contains("a"), "a", False),
        ("a", Contains("a"), False),
        (Contains(1), Contains(value=True), False),
        ("t/a*", "t/*", True),
        ("t/*", "t/a*", False),
        ("t/a", "t/a*", False),
    ],
)
def test_what_covers_what(narrow: AcceptedValue, wide: AcceptedValue, answer: bool) -> None:  # noqa: FBT001  a parameter of the table
    """A value and a list that contains it are different things, and neither covers the other."""
    assert is_covered(narrow, [wide]) is answer


@given(accepted)
def test_the_stored_form_is_read_back(one: AcceptedValue) -> None:
    """What is stored is what the policy file says, and is read back with its type."""
    again = from_json(json.loads(json.dumps(to_json(one))))
    assert repr(again) == repr(one)


def test_stored_as_it_is_written() -> None:
    """A value is stored as before there was `contains`, so that policies in force are read."""
    assert [to_json(one) for one in ("a", 1, True, Contains("a"))] == ["a", 1, True, {"contains": "a"}]


def test_patterns_accept_several_values() -> None:
    """A pattern is one within `contains`, too."""
    several: list[AcceptedValue] = ["a/*", "a/b*", Contains("a/*")]
    assert all(map(is_pattern, several))
    single: list[AcceptedValue] = ["a", 1, True, Contains("a"), Contains(1)]
    assert not any(map(is_pattern, single))
