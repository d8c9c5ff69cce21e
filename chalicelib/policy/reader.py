"""Reads nodes into typed entries: a field is its value, ABSENT, or FAULTY once its fault is noted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from chalicelib.policy.faults import (
    FAULTY,
    Description,
    Fault,
    Faulty,
    InvalidPolicyError,
    Path,
    fault_at,
)
from chalicelib.policy.yaml_nodes import Document, ListNode, MappingNode, Node, ScalarNode, describe, plain


class Faults:
    """The faults of one file, in the order in which they were found."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.noted: list[Fault] = list(document.faults)

    def note(self, path: Path, allowed: str, found: object) -> None:
        """Note a fault at a field's line, or at that of the nearest one above it. found: quoted, unless a Description."""
        self.noted.append(fault_at(self._document.file, self._document.line_at(path), path, allowed, found))

    def raise_noted(self) -> None:
        """Raise InvalidPolicyError with all of them, if there are any."""
        if self.noted:
            raise InvalidPolicyError(self.noted)


class Shape(Protocol):
    """What a field may hold, made of its type by `shape_of`."""

    def read(self, node: Node, path: Path, faults: Faults) -> Any:  # noqa: ANN401  a value of the shape's type
        """Return the value of a node, FAULTY with a fault that is noted."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value that msgspec checks whole: text, a number, a boolean, or a mapping that is read as it is."""

    type: Any
    allowed: str

    def read(self, node: Node, path: Path, faults: Faults) -> object:
        """Return the value if it is of the type."""
        value = plain(node)
        try:
            return msgspec.convert(value, self.type)
        except msgspec.ValidationError as error:
            is_text = isinstance(node, ScalarNode) and node.kind == "str"
            faults.note(path, self.allowed or str(error), value if is_text else describe(node))
            return FAULTY


@dataclass(frozen=True, slots=True)
class Elements:
    """A list that is not empty and has each value once. most: elements, None for any number."""

    element: Shape
    most: int | None

    def read(self, node: Node, path: Path, faults: Faults) -> list[Any] | Faulty:
        """Return the elements, FAULTY in the place of each with a fault."""
        _check_size(node, self.most, path, faults)
        if not isinstance(node, ListNode) or not node.elements:
            faults.note(path, "a list that is not empty", describe(node))
            return FAULTY
        found: list[Any] = []
        seen: set[str] = set()
        for index, one in enumerate(node.elements):
            here = (*path, str(index))
            value = self.element.read(one, here, faults)
            # Whether two entries say the same is known where they are compiled.
            text = "" if isinstance(value, msgspec.Struct) else json.dumps(value)
            if value is not FAULTY and text and text in seen:
                faults.note(here, "each value once", value)
            seen.add(text)
            found.append(value)
        return found


@dataclass(frozen=True, slots=True)
class OneOrMore:
    """A value, or a list of such values."""

    one: Shape
    more: Elements

    def read(self, node: Node, path: Path, faults: Faults) -> Any:  # noqa: ANN401  a value or a list
        """Read a list as a list, and anything else as one value."""
        return (self.more if isinstance(node, ListNode) else self.one).read(node, path, faults)


@dataclass(frozen=True, slots=True)
class RecordOr:
    """An entry with named fields, or a value."""

    record: Shape
    other: Shape

    def read(self, node: Node, path: Path, faults: Faults) -> Any:  # noqa: ANN401  a value or an entry
        """Read a mapping as an entry, and anything else as a value."""
        return (self.record if isinstance(node, MappingNode) else self.other).read(node, path, faults)


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping of names to values of one shape, not empty. most: members, None for any number."""

    name: Leaf
    value: Shape
    most: int | None

    def read(self, node: Node, path: Path, faults: Faults) -> dict[str, Any] | Faulty:
        """Return the values by name, FAULTY in the place of each with a fault; a name with a fault is kept."""
        _check_size(node, self.most, path, faults)
        members = _members(node, path, faults)
        if members is FAULTY:
            return FAULTY
        for name in members:
            self.name.read(ScalarNode(0, "str", name), (*path, name), faults)
        return {name: self.value.read(value, (*path, name), faults) for name, value in members.items()}


@dataclass(frozen=True, slots=True)
class Record:
    """An entry with named fields, some of which must be there. fields: name -> shape."""

    type: type[msgspec.Struct]
    fields: dict[str, Shape]
    required: tuple[str, ...]

    def read(self, node: Node, path: Path, faults: Faults) -> msgspec.Struct | Faulty:
        """Return the entry; a required field that is not there is FAULTY, too."""
        members = _members(node, path, faults)
        if members is FAULTY:
            return FAULTY
        for name in members.keys() - self.fields.keys():
            faults.note(
                (*path, name), f"the fields {', '.join(self.fields)}", Description(f"an unknown field {name!r}")
            )
        for name in self.required:
            if name not in members:
                faults.note(path, f"a field {name!r}", Description(f"no {name}"))
        values: dict[str, Any] = dict.fromkeys(self.required, FAULTY)
        for name, shape in self.fields.items():
            if name in members:
                values[name] = shape.read(members[name], (*path, name), faults)
        return self.type(**values)


def _members(node: Node, path: Path, faults: Faults) -> dict[str, Node] | Faulty:
    if isinstance(node, MappingNode) and node.size:
        return node.members
    faults.note(path, "a mapping that is not empty", describe(node))
    return FAULTY


def _check_size(node: Node, most: int | None, path: Path, faults: Faults) -> None:
    if most is None or isinstance(node, ScalarNode):
        return
    size = node.size if isinstance(node, MappingNode) else len(node.elements)
    if size > most:
        faults.note(path, f"at most {most}", size)
