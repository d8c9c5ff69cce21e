"""The nodes of a policy file: what YAML says, and on which line."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, TypeAlias

from chalicelib.policy.faults import Description, Fault, Path

_DESCRIPTIONS = {
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "a boolean",
    "null": "nothing",
    "timestamp": "a date",
}
# Decimal and canonical: what `010`, `1_0` and `1:10` mean depends on who reads it. Within 2**53, as JSON's readers want.
_WHOLE_NUMBER = re.compile("0|-?[1-9][0-9]{0,14}")


class ScalarNode(NamedTuple):
    """Text, a number, a boolean, nothing or a date."""

    line: int
    """From 1; of a mapping's member, its key's."""
    kind: str
    """YAML's own word: `str`, `int`, `float`, `bool`, `null`, `timestamp`, …"""
    text: str
    """As it is written, without quotes."""


class ListNode(NamedTuple):
    """A list."""

    line: int
    elements: list[Node]


class MappingNode(NamedTuple):
    """A mapping. size: how many members are written, those with a faulty key included, which are not in `members`."""

    line: int
    members: dict[str, Node]
    size: int


Node: TypeAlias = ScalarNode | ListNode | MappingNode


class Document(NamedTuple):
    """A file as nodes. faults: keys that occur twice, or that are neither text nor a list of names."""

    file: str
    root: Node
    faults: tuple[Fault, ...]

    def line_at(self, path: Path) -> int:
        """Return a field's line, or that of the nearest one above it in the tree; 1 for the file as a whole."""
        node, line = self.root, 1
        for name in path:
            inner = _member(node, name)
            if inner is None:
                break
            node, line = inner, inner.line
        return line


def plain(node: Node) -> Any:  # noqa: ANN401  text, a number, a boolean, None, or lists and mappings of them
    """Return a node's value. Text stays text: only `true`, `false` and decimal numbers are anything else."""
    if isinstance(node, ScalarNode):
        if node.kind == "str":
            return node.text
        if node.kind == "bool" and node.text in ("true", "false"):
            return node.text == "true"
        return int(node.text) if node.kind == "int" and _WHOLE_NUMBER.fullmatch(node.text) else None
    if isinstance(node, ListNode):
        return [plain(one) for one in node.elements]
    return {name: plain(value) for name, value in node.members.items()}


def key_name(key: Node) -> str | None:
    """Return a mapping's key as a name: its text, or the JSON of a list of names; None for anything else."""
    if isinstance(key, ScalarNode):
        return key.text
    names = plain(key)
    if isinstance(names, list) and names and all(isinstance(name, str) and name for name in names):
        return json.dumps(names)
    return None


def describe(node: Node) -> Description:
    """Say what a node is, in words."""
    if isinstance(node, MappingNode):
        return Description("a mapping" if node.size else "an empty mapping")
    if isinstance(node, ListNode):
        return Description("a list" if node.elements else "an empty list")
    word = _DESCRIPTIONS.get(node.kind, "a YAML indicator")
    quoted = repr(node.text[:100]) if node.kind == "str" else node.text[:100]
    return Description(word if node.kind == "null" or not node.text else f"{word} ({quoted})")


def _member(node: Node, name: str) -> Node | None:
    if isinstance(node, MappingNode):
        return node.members.get(name)
    if isinstance(node, ListNode) and name.isdecimal() and int(name) < len(node.elements):
        return node.elements[int(name)]
    return None
