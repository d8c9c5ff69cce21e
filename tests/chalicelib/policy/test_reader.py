"""Typed reading: every fault with its line, nothing taken for something else, and on after the first fault."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct

from chalicelib.policy.reader import Reader, each, path_of
from chalicelib.policy.yaml_nodes import Description, InvalidPolicyError, parse_yaml

STEADY = settings(derandomize=True, deadline=None)  # the same examples on every machine, however busy


class Leaf(Struct, frozen=True, forbid_unknown_fields=True):
    """Something with one field that is needed and one that is not."""

    size: int
    note: Annotated[str, Meta(min_length=1, max_length=5, description="a short note")] | None = None


class Tree(Struct, frozen=True, forbid_unknown_fields=True):
    """One of each kind."""

    leaf: Leaf
    leaves: dict[Annotated[str, Meta(pattern="^[a-z]+$", description="small letters")], Leaf] | None = None
    words: Annotated[list[Annotated[str, Meta(description="a word")]], Meta(max_length=3)] | None = None
    either: str | list[str] | None = None
    mixed: Annotated[str, Meta(min_length=1, description="a value")] | int | bool | None = None
    sure: bool | None = None
    choice: Annotated[Literal["a", "b"], Meta(description="a or b")] | None = None
    anything: dict[str, Any] | None = None


def read(text: str) -> tuple[Tree | None, Reader]:
    reader = Reader("k.yaml")
    found: Tree | None = reader.read(parse_yaml(text, "k.yaml"), Tree)
    return found, reader


def noted(reader: Reader) -> list[tuple[int, str, str, str]]:
    return [(one.line, one.field, one.found, one.allowed) for one in reader.faults]


def told(text: str) -> list[tuple[int, str, str, str]]:
    """Read a text; return line, field, what was found and what is allowed of each fault."""
    return noted(read(text)[1])


def value(field: str, written: str) -> tuple[Any, list[tuple[int, str, str, str]]]:
    """Read one field beside a good leaf."""
    found, reader = read(f"leaf: {{size: 1}}\n{field}: {written}\n")
    return getattr(found, field), noted(reader)


# Fields


def test_what_is_good_is_read_with_its_types() -> None:
    text = "leaf: {size: 1, note: x}\nleaves: {a: {size: 2}}\nwords: [a, b]\neither: [x]\nsure: false\nchoice: b\n"
    found, reader = read(text + 'mixed: "1"\nanything: {a: [1, {b: x}]}\n')
    assert found == Tree(
        leaf=Leaf(size=1, note="x"),
        leaves={"a": Leaf(size=2)},
        words=["a", "b"],
        either=["x"],
        sure=False,
        choice="b",
        mixed="1",
        anything={"a": [1, {"b": "x"}]},
    )
    assert reader.faults == []
    reader.raise_faults()


def test_unknown_and_missing_fields_are_all_told_each_at_its_place() -> None:
    fields = "the fields leaf, leaves, words, either, mixed, sure, choice, anything"
    assert sorted(told("z: 1\nleaf:\n  y: 1\n  note: x\n")) == [
        (1, "z", "an unknown field 'z'", fields),
        (2, "leaf", "no size", "a field 'size'"),
        (3, "leaf.y", "an unknown field 'y'", "the fields size, note"),
    ]


def test_nothing_in_the_place_of_something_that_may_be_left_out_is_a_fault() -> None:
    for field, allowed in (("words", "a list that is not empty"), ("sure", "true or false"), ("mixed", "a value")):
        assert value(field, "") == (None, [(2, field, "nothing", allowed)])
        assert value(field, "null") == (None, [(2, field, "nothing", allowed)])


@pytest.mark.parametrize("written", ["{}", "[]", "[b]", "1", "b", "", "~"])
def test_a_mapping_that_is_empty_or_none_is_a_fault(written: str) -> None:
    assert [one[:2] + one[3:] for one in told(f"leaf: {written}\n")] == [(1, "leaf", "a mapping that is not empty")]
    assert [one[3] for one in value("leaves", written)[1]] == ["a mapping that is not empty"]


def test_what_is_beside_a_fault_is_read_and_checked_too() -> None:
    found, reader = read("leaf: {size: x, note: toolong}\nsure: true\nwords: [a, 1, a]\n")
    assert found is not None
    assert repr(found).startswith("Tree(leaf=Leaf(size=None, note=None), leaves=None, words=['a', None, 'a']")
    assert found.sure is True
    assert [(one[1], one[2]) for one in noted(reader)] == [
        ("leaf.size", "'x'"),
        ("leaf.note", "'toolong'"),
        ("words.1", "a number (1)"),
        ("words.2", "'a'"),
    ]


def test_soundness_is_told_of_a_field_and_all_below_it() -> None:
    _, reader = read("leaf: {size: x}\nleaves: {a: {size: 1}}\n")
    unsound = [path for path in ((), ("leaf",), ("leaf", "size"), ("leaves",), ("sure",)) if not reader.sound(path)]
    assert unsound == [(), ("leaf",), ("leaf", "size")]


# Mappings


def test_a_key_that_comes_twice_is_a_fault_at_its_second_place_and_the_first_stands() -> None:
    found, reader = read("leaf:\n  size: 1\n  note: x\n  'size': 3\nleaves:\n  a: {size: 2}\n  a: {size: 4}\n")
    assert found is not None
    assert (found.leaf.size, found.leaves) == (1, {"a": Leaf(size=2)})
    assert noted(reader) == [(4, "leaf.size", "'size'", "each key once"), (7, "leaves.a", "'a'", "each key once")]


def test_a_fault_of_the_first_is_told_at_its_own_line_though_a_second_follows() -> None:
    assert [one[:2] for one in told("leaf: {size: 1}\nwords: []\nsure: true\nwords: [a]\n")] == [
        (4, "words"),
        (2, "words"),
    ]


@pytest.mark.parametrize("key", ["<<", '"<<"', "? [a, 1]\n", "? {a: 1}\n", "? []\n"])
def test_a_merge_or_a_key_that_is_no_text_is_a_fault(key: str) -> None:
    faults = told(f"leaf: {{size: 1}}\n{key}: {{size: 1}}\n")
    assert [one[3] for one in faults] == ["a key that is text, or a list of names"]
    assert faults[0][0] >= 2


def test_a_key_of_the_wrong_form_is_told_at_the_key() -> None:
    assert value("leaves", "\n  A:\n    size: 1\n")[1] == [(3, "leaves.A", "'A'", "small letters")]


def test_a_key_twice_is_a_fault_in_what_is_read_as_it_stands_too() -> None:
    assert [one[:2] for one in value("anything", "{a: 1, b: [{c: 1, c: 2}], a: 2}")[1]] == [
        (2, "anything.a"),
        (2, "anything.b.0.c"),
    ]


# Lists


def test_a_value_that_comes_twice_in_a_list_is_a_fault_at_its_index() -> None:
    assert [one[1:] for one in value("either", '[x, "1", y, "x", "1"]')[1]] == [
        ("either.3", "'x'", "each value once"),
        ("either.4", "'1'", "each value once"),
    ]


@pytest.mark.parametrize("written", ["[]", "{b: 1}", "x", "", "1"])
def test_a_list_that_is_empty_or_none_is_a_fault(written: str) -> None:
    found, faults = value("words", written)
    assert found is None
    assert [(one[1], one[3]) for one in faults] == [("words", "a list that is not empty")]


def test_a_list_over_lines_has_each_value_at_its_own_line() -> None:
    found, faults = value("words", "\n  - x\n\n  - [y]\n  - 1\n")
    assert found == ["x", None, None]
    assert [one[:3] for one in faults] == [(5, "words.1", "a list"), (6, "words.2", "a number (1)")]


def test_a_list_that_is_too_long_is_a_fault() -> None:
    assert value("words", "[a, b, c]") == (["a", "b", "c"], [])
    assert value("words", "[a, b, c, d]")[1] == [(2, "words", "4", "at most 3")]


def test_a_list_may_stand_where_one_value_may_and_is_none() -> None:
    assert value("either", "x") == ("x", [])
    assert value("either", "[x, y]") == (["x", "y"], [])
    assert [one[1] for one in value("either", "[[x]]")[1]] == ["either.0"]


# Values


@pytest.mark.parametrize("written", ["yes", "no", "on", "off", "True", "FALSE", '"true"', "1", "0", "~", "", "[true]"])
def test_nothing_else_is_a_boolean(written: str) -> None:
    found, faults = value("sure", written)
    assert found is None
    assert [(one[0], one[1], one[3]) for one in faults] == [(2, "sure", "true or false")]


@pytest.mark.parametrize(("written", "meant"), [("true", True), ("false", False)])
def test_true_and_false_are_booleans(written: str, meant: bool) -> None:  # noqa: FBT001  a parameter of the table
    assert value("sure", written) == (meant, [])


@pytest.mark.parametrize(("written", "meant"), [("1", 1), ('"1"', "1"), ("true", True), ('"true"', "true"), ("x", "x")])
def test_a_value_of_several_types_has_the_one_that_it_is_written_with(written: str, meant: object) -> None:
    found, faults = value("mixed", written)
    assert (type(found), found, faults) == (type(meant), meant, [])


@pytest.mark.parametrize(
    "written", ["yes", "null", "1.0", "010", "0x10", "2026-01-01", "{a: b}", "9" * 16, '""', "=", "[a]", "-0"]
)
def test_a_value_that_could_be_read_in_two_ways_is_a_fault(written: str) -> None:
    found, faults = value("mixed", written)
    assert found is None
    assert [(one[0], one[1], one[3]) for one in faults] == [(2, "mixed", "a value")]


def test_a_choice_is_one_of_its_names_exactly() -> None:
    assert value("choice", "a") == ("a", [])
    for written in ("A", '"a "', '"a\\n"', "ab", "[a]"):
        assert [one[3] for one in value("choice", written)[1]] == ["a or b"]


# What is told


def test_what_a_fault_quotes_is_cut_and_cannot_break_its_line() -> None:
    (fault,) = read('leaf: {size: "' + "x\\n" * 500 + '"}\n')[1].faults
    assert len(str(fault)) < 400
    assert "\n" not in str(fault)


def test_what_was_found_is_quoted_and_what_is_said_of_it_is_not() -> None:
    reader = Reader("k.yaml")
    reader.fault(("a", "b"), "y", "no b")
    reader.fault(("a", "b"), "y", Description("no b"))
    assert [one.found for one in reader.faults] == ["'no b'", "no b"]


def test_a_fault_of_what_is_not_there_is_told_at_the_nearest_line_above() -> None:
    reader = Reader("k.yaml")
    reader.lines = {("a",): 3, ("a", "b"): 5}
    reader.fault(("a", "b", "c"), "y", "x")
    reader.fault(("a", "z"), "y", "x")
    reader.fault(("z",), "y", "x")
    assert [one.line for one in reader.faults] == [5, 3, 1]


def test_a_name_that_is_not_known_is_told_with_the_first_that_are() -> None:
    reader = Reader("k.yaml")
    for name in ("a", None):
        reader.check_one_of(name, ["a", "b"], ("x",))
    assert reader.faults == []
    reader.check_one_of("c", ["a", "b"], ("x",))
    reader.check_one_of("c", [], ("x",))
    reader.check_one_of("c", [f"n{number}" for number in range(10_000)], ("x",))
    assert reader.faults[0].allowed == "one of a, b"
    assert reader.faults[1].allowed == "a name that this file defines; there is none"
    assert len(reader.faults[2].allowed) < 200


def test_faults_are_raised_all_of_them() -> None:
    reader = Reader("k.yaml")
    reader.fault(("a",), "y", "x")
    reader.fault(("b",), "y", "x")
    with pytest.raises(InvalidPolicyError) as caught:
        reader.raise_faults()
    assert [one.field for one in caught.value.faults] == ["a", "b"]


def test_values_with_a_fault_are_passed_over_and_the_others_keep_their_index() -> None:
    assert list(each(["x", None, "y"], ("a",))) == [(("a", "0"), "x"), (("a", "2"), "y")]


# Paths of claims


@pytest.mark.parametrize(
    ("claim", "path"),
    [
        ("sub", ("sub",)),
        ("oidc.circleci.com/project-id", ("oidc.circleci.com/project-id",)),
        ("a.b", ("a.b",)),
        ('["sub"]', ("sub",)),
        ('["a", "b/c.d"]', ("a", "b/c.d")),
        ('["a","\\u0062"]', ("a", "b")),
        ('["["]', ("[",)),
        ('a["b"]', ('a["b"]',)),
        ('["a"', None),
        ('["a"]]', None),
        ('["a"] b', None),
        ('["a", 1]', None),
        ('["a", null]', None),
        ('["a", ["b"]]', None),
        ('["a", ""]', None),
        ("[]", None),
        ("[a]", None),
        ("[", None),
        ('["\\ud800"]', None),
        ("[" * 100_000, None),
        ("[NaN]", None),
    ],
    ids=lambda one: str(one)[:20],
)
def test_a_claim_s_key_is_a_name_or_a_list_of_names(claim: str, path: tuple[str, ...] | None) -> None:
    assert path_of(claim) == path


@STEADY
@given(st.text(max_size=30) | st.text('["a,]\\ud0 ').map(lambda text: "[" + text))
@example('["a')
def test_any_claim_s_key_is_a_path_of_text_or_none(claim: str) -> None:
    path = path_of(claim)
    assert path is None or (path and all(isinstance(name, str) for name in path))
