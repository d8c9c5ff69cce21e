"""Nodes know their lines, and nothing is taken for something else."""

from __future__ import annotations

import pytest

from chalicelib.policy.yaml_nodes import MappingNode, Node, ScalarNode, describe, plain
from chalicelib.policy.yaml_parser import parse_yaml


def value(written: str) -> Node:
    """Read a value as it is written after `a: `."""
    node = parse_yaml(f"a: {written}\n", "k.yaml").root
    assert isinstance(node, MappingNode)
    return node.members["a"]


def is_text(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.kind == "str"


NOT_TEXT = {
    "yes": "a boolean (yes)",
    "on": "a boolean (on)",
    "No": "a boolean (No)",
    "true": "a boolean (true)",
    "1": "a number (1)",
    "-1": "a number (-1)",
    "1_000": "a number (1_000)",
    "010": "a number (010)",
    "0x10": "a number (0x10)",
    "0b1": "a number (0b1)",
    "1:10": "a number (1:10)",
    "1.5": "a number (1.5)",
    "1.5e+3": "a number (1.5e+3)",
    ".inf": "a number (.inf)",
    "2026-01-01": "a date (2026-01-01)",
    "2026-01-01T00:00:00Z": "a date (2026-01-01T00:00:00Z)",
    "null": "nothing",
    "~": "nothing",
    "": "nothing",
    "=": "a YAML indicator (=)",
    "{b: 1}": "a mapping",
    "{}": "an empty mapping",
    "[b]": "a list",
    "[]": "an empty list",
}


@pytest.mark.parametrize("written", NOT_TEXT)
def test_descriptions(written: str) -> None:
    """What YAML takes for something other than text is described as what it is."""
    assert not is_text(value(written))
    assert describe(value(written)) == NOT_TEXT[written]


@pytest.mark.parametrize("written", sorted(NOT_TEXT.keys() - {"", "{b: 1}", "{}", "[b]", "[]"}))
def test_quoted_text(written: str) -> None:
    """In quotes anything is text, as it is written."""
    one = value(f'"{written}"')
    assert is_text(one)
    assert plain(one) == written


@pytest.mark.parametrize("written", ["0o7", "1e3", "--1", "1-", "٣", "y", "n", "nan", "1h", "x", "é", "\uff11", "TRue"])
def test_plain_text(written: str) -> None:
    """What is text to YAML is text, as it is written."""
    assert plain(value(written)) == written


@pytest.mark.parametrize(("written", "meant"), [("true", True), ("false", False)])
def test_true_and_false_are_booleans(written: str, meant: bool) -> None:  # noqa: FBT001  a parameter of the table
    assert plain(value(written)) is meant


@pytest.mark.parametrize("written", ["yes", "no", "on", "off", "True", "FALSE", "Yes"])
def test_other_booleans_have_no_value(written: str) -> None:
    """What only some readers take for a boolean has no value."""
    assert plain(value(written)) is None


@pytest.mark.parametrize("number", [0, 1, -1, 10, 1234567890, 10**15 - 1, 1 - 10**15])
def test_whole_numbers(number: int) -> None:
    """A decimal whole number is a number."""
    found = plain(value(str(number)))
    assert (type(found), found) == (int, number)


@pytest.mark.parametrize(
    "written",
    [
        *[
            "010",
            "07",
            "00",
            "-0",
            "+1",
            "1_000",
            "0x10",
            "0b1",
            "1:10",
            "190:20:30",
            "1.0",
            "1.5e+3",
            ".inf",
            ".nan",
            "=",
            "2026-01-01",
            "null",
            "~",
        ],
        "",
        "9" * 16,
        "9" * 5_000,
    ],
    ids=lambda written: written[:20],
)
def test_ambiguous_scalars(written: str) -> None:
    """What could be read in two ways has no value."""
    assert plain(value(written)) is None


def test_lists_and_mappings() -> None:
    """Lists and mappings have plain values."""
    assert plain(value('{b: [1, "1", {c: true}], ? [d, "e"] : x}')) == {"b": [1, "1", {"c": True}], '["d", "e"]': "x"}


def test_lines_of_nodes() -> None:
    """A member's line is its key's, an element's is its own, and what is not there has that of the nearest above it."""
    document = parse_yaml("# first\n\na:\n  b:\n    1\n  c:\n    - x\n    - y\n", "k.yaml")
    lines = {".".join(path): document.line_at(path) for path in [(), ("a",), ("a", "b"), ("a", "c"), ("a", "c", "1")]}
    assert lines == {"": 1, "a": 3, "a.b": 4, "a.c": 6, "a.c.1": 8}
    assert document.line_at(("a", "b", "z")) == 4
    assert document.line_at(("a", "c", "2")) == 6
    assert document.line_at(("z",)) == 1


def test_long_descriptions_are_cut() -> None:
    """The description of a long value is cut."""
    assert len(describe(value("x" * 5_000))) < 120
