"""Typed reading: every fault with its line, nothing taken for something else, and on after the first fault."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

from chalicelib.policy.faults import ABSENT, FAULTY, Absent, Description, Faulty, InvalidPolicyError
from chalicelib.policy.reader import Faults
from chalicelib.policy.shapes import shape_of
from chalicelib.policy.yaml_parser import parse_yaml


class Leaf(Struct, frozen=True, forbid_unknown_fields=True):
    """Something with one field that is needed and one that is not."""

    size: int | Faulty
    note: Annotated[str, Meta(min_length=1, max_length=5, description="a short note")] | Faulty | Absent = ABSENT


class Tree(Struct, frozen=True, forbid_unknown_fields=True):
    """One of each kind."""

    leaf: Leaf | Faulty
    leaves: (
        dict[Annotated[str, Meta(pattern="^[a-z]+$", description="small letters")], Leaf | Faulty] | Faulty | Absent
    ) = ABSENT
    words: (
        Annotated[list[Annotated[str, Meta(description="a word")] | Faulty], Meta(max_length=3)] | Faulty | Absent
    ) = ABSENT
    either: str | list[str | Faulty] | Faulty | Absent = ABSENT
    mixed: Annotated[str, Meta(min_length=1, description="a value")] | int | bool | Faulty | Absent = ABSENT
    sure: bool | Faulty | Absent = ABSENT
    choice: Annotated[Literal["a", "b"], Meta(description="a or b")] | Faulty | Absent = ABSENT
    anything: dict[str, Any] | Faulty | Absent = ABSENT


def read(text: str) -> tuple[Tree | Faulty, Faults]:
    document = parse_yaml(text, "k.yaml")
    faults = Faults(document)
    found: Tree | Faulty = shape_of(Tree).read(document.root, (), faults)
    return found, faults


def noted(faults: Faults) -> list[tuple[int, str, str, str]]:
    return [(one.line, one.field, one.found, one.allowed) for one in faults.noted]


def told(text: str) -> list[tuple[int, str, str, str]]:
    """Read a text; return line, field, what was found and what is allowed of each fault."""
    return noted(read(text)[1])


def value(field: str, written: str) -> tuple[Any, list[tuple[int, str, str, str]]]:
    """Read one field beside a good leaf."""
    found, faults = read(f"leaf: {{size: 1}}\n{field}: {written}\n")
    return getattr(found, field), noted(faults)


# Fields


def test_good_values_keep_their_types() -> None:
    """What is valid is read with its types."""
    text = "leaf: {size: 1, note: x}\nleaves: {a: {size: 2}}\nwords: [a, b]\neither: [x]\nsure: false\nchoice: b\n"
    found, faults = read(text + 'mixed: "1"\nanything: {a: [1, {b: x}]}\n')
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
    assert faults.noted == []
    faults.raise_noted()


def test_unknown_and_missing_fields() -> None:
    """Each unknown and each missing field is a fault at its own line."""
    fields = "the fields leaf, leaves, words, either, mixed, sure, choice, anything"
    assert sorted(told("z: 1\nleaf:\n  y: 1\n  note: x\n")) == [
        (1, "z", "an unknown field 'z'", fields),
        (2, "leaf", "no size", "a field 'size'"),
        (3, "leaf.y", "an unknown field 'y'", "the fields size, note"),
    ]


def test_null_is_not_absent() -> None:
    """An optional field may be left out; it may not be null."""
    for field, allowed in (("words", "a list that is not empty"), ("sure", "true or false"), ("mixed", "a value")):
        assert value(field, "") == (None, [(2, field, "nothing", allowed)])
        assert value(field, "null") == (None, [(2, field, "nothing", allowed)])


@pytest.mark.parametrize("written", ["{}", "[]", "[b]", "1", "b", "", "~"])
def test_empty_mappings(written: str) -> None:
    """A mapping that is empty, or something else, is a fault."""
    assert [one[:2] + one[3:] for one in told(f"leaf: {written}\n")] == [(1, "leaf", "a mapping that is not empty")]
    assert [one[3] for one in value("leaves", written)[1]] == ["a mapping that is not empty"]


def test_other_fields_are_still_checked() -> None:
    """What is next to a fault is read and checked too."""
    found, faults = read("leaf: {size: x, note: toolong}\nsure: true\nwords: [a, 1, a]\n")
    assert found is not None
    assert found.leaf == Leaf(size=FAULTY, note=FAULTY)
    assert (found.leaves, found.words) == (ABSENT, ["a", FAULTY, "a"])
    assert found.sure is True
    assert [(one[1], one[2]) for one in noted(faults)] == [
        ("leaf.size", "'x'"),
        ("leaf.note", "'toolong'"),
        ("words.1", "a number (1)"),
        ("words.2", "'a'"),
    ]


def test_absent_is_not_faulty() -> None:
    """What is not in the file and what is wrong there are two different values; what is required is never absent."""
    found, _ = read("leaves: {a: {note: x}, b: 1}\nsure: 1\n")
    assert found == Tree(leaf=FAULTY, leaves={"a": Leaf(size=FAULTY, note="x"), "b": FAULTY}, sure=FAULTY)
    assert found is not None
    assert (found.words, found.choice) == (ABSENT, ABSENT)


# Mappings


def test_repeated_keys() -> None:
    """A key that occurs twice is a fault at its second line, and the first value stands."""
    found, faults = read("leaf:\n  size: 1\n  note: x\n  'size': 3\nleaves:\n  a: {size: 2}\n  a: {size: 4}\n")
    assert found is not None
    assert (found.leaf, found.leaves) == (Leaf(size=1, note="x"), {"a": Leaf(size=2)})
    assert noted(faults) == [(4, "leaf.size", "'size'", "each key once"), (7, "leaves.a", "'a'", "each key once")]


def test_line_of_the_first_of_two() -> None:
    """A fault of the first value is at its own line, though the key occurs again."""
    assert [one[:2] for one in told("leaf: {size: 1}\nwords: []\nsure: true\nwords: [a]\n")] == [
        (4, "words"),
        (2, "words"),
    ]


@pytest.mark.parametrize("key", ["<<", '"<<"', "? [a, 1]\n", "? {a: 1}\n", "? []\n"])
def test_keys_that_are_not_text(key: str) -> None:
    """A merge, or a key that is not text, is a fault."""
    faults = told(f"leaf: {{size: 1}}\n{key}: {{size: 1}}\n")
    assert [one[3] for one in faults] == ["a key that is text, or a list of names"]
    assert faults[0][0] >= 2


def test_malformed_names() -> None:
    """A malformed name is a fault at its own line."""
    assert value("leaves", "\n  A:\n    size: 1\n")[1] == [(3, "leaves.A", "'A'", "small letters")]


def test_repeated_keys_in_free_mappings() -> None:
    """A repeated key is a fault also in a mapping that is read as it is."""
    assert sorted(one[:2] for one in value("anything", "{a: 1, b: [{c: 1, c: 2}], a: 2}")[1]) == [
        (2, "anything.a"),
        (2, "anything.b.0.c"),
    ]


# Lists


def test_repeated_elements() -> None:
    """A value that occurs twice in a list is a fault at its index."""
    assert [one[1:] for one in value("either", '[x, "1", y, "x", "1"]')[1]] == [
        ("either.3", "'x'", "each value once"),
        ("either.4", "'1'", "each value once"),
    ]


@pytest.mark.parametrize("written", ["[]", "{b: 1}", "x", "", "1"])
def test_empty_lists(written: str) -> None:
    """A list that is empty, or something else, is a fault."""
    found, faults = value("words", written)
    assert found is None
    assert [(one[1], one[3]) for one in faults] == [("words", "a list that is not empty")]


def test_lines_of_elements() -> None:
    """Each element of a list has its own line."""
    found, faults = value("words", "\n  - x\n\n  - [y]\n  - 1\n")
    assert found == ["x", None, None]
    assert [one[:3] for one in faults] == [(5, "words.1", "a list"), (6, "words.2", "a number (1)")]


def test_long_lists() -> None:
    """A list that is too long is a fault."""
    assert value("words", "[a, b, c]") == (["a", "b", "c"], [])
    assert value("words", "[a, b, c, d]")[1] == [(2, "words", "4", "at most 3")]


def test_one_value_or_a_list() -> None:
    """Where one value or a list may stand, each is read as what it is."""
    assert value("either", "x") == ("x", [])
    assert value("either", "[x, y]") == (["x", "y"], [])
    assert [one[1] for one in value("either", "[[x]]")[1]] == ["either.0"]


# Values


@pytest.mark.parametrize("written", ["yes", "no", "on", "off", "True", "FALSE", '"true"', "1", "0", "~", "", "[true]"])
def test_other_booleans(written: str) -> None:
    """Only `true` and `false` are booleans."""
    found, faults = value("sure", written)
    assert found is None
    assert [(one[0], one[1], one[3]) for one in faults] == [(2, "sure", "true or false")]


@pytest.mark.parametrize(("written", "meant"), [("true", True), ("false", False)])
def test_true_and_false_are_booleans(written: str, meant: bool) -> None:  # noqa: FBT001  a parameter of the table
    assert value("sure", written) == (meant, [])


@pytest.mark.parametrize(("written", "meant"), [("1", 1), ('"1"', "1"), ("true", True), ('"true"', "true"), ("x", "x")])
def test_types_of_mixed_values(written: str, meant: object) -> None:
    """A value of several possible types has the one that it is written with."""
    found, faults = value("mixed", written)
    assert (type(found), found, faults) == (type(meant), meant, [])


@pytest.mark.parametrize(
    "written", ["yes", "null", "1.0", "010", "0x10", "2026-01-01", "{a: b}", "9" * 16, '""', "=", "[a]", "-0"]
)
def test_ambiguous_values(written: str) -> None:
    """A value that could be read in two ways is a fault."""
    found, faults = value("mixed", written)
    assert found is None
    assert [(one[0], one[1], one[3]) for one in faults] == [(2, "mixed", "a value")]


def test_choices() -> None:
    """A choice is exactly one of its names."""
    assert value("choice", "a") == ("a", [])
    for written in ("A", '"a "', '"a\\n"', "ab", "[a]"):
        assert [one[3] for one in value("choice", written)[1]] == ["a or b"]


# Faults


def test_quotations_are_cut() -> None:
    """A quotation in a fault is cut, and cannot break its line."""
    (fault,) = read('leaf: {size: "' + "x\\n" * 500 + '"}\n')[1].noted
    assert len(str(fault)) < 400
    assert "\n" not in str(fault)


def faults_of(text: str) -> Faults:
    return Faults(parse_yaml(text, "k.yaml"))


def test_quotations_and_descriptions() -> None:
    """What was found is quoted; what is said of it is not."""
    faults = faults_of("a: 1")
    faults.note(("a", "b"), "y", "no b")
    faults.note(("a", "b"), "y", Description("no b"))
    assert [one.found for one in faults.noted] == ["'no b'", "no b"]


def test_lines_of_absent_fields() -> None:
    """A fault of what is not there is at the nearest line above it in the tree."""
    faults = faults_of("# one\n\na:\n\n  b: x\n")
    for path in (("a", "b", "c"), ("a", "z"), ("z",)):
        faults.note(path, "y", "x")
    assert [one.line for one in faults.noted] == [5, 3, 1]


def test_all_faults_are_raised() -> None:
    """The error has every fault."""
    faults = faults_of("a: 1")
    faults.note(("a",), "y", "x")
    faults.note(("b",), "y", "x")
    with pytest.raises(InvalidPolicyError) as caught:
        faults.raise_noted()
    assert [one.field for one in caught.value.faults] == ["a", "b"]
