"""Reads a policy file's YAML into typed entries, noting every fault with its line, and goes on after the first."""

from __future__ import annotations

import functools
import itertools
import json
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar, Union

import msgspec
import yaml

from chalicelib.policy.yaml_nodes import (
    Description,
    Fault,
    InvalidPolicyError,
    described,
    is_text,
    key_of,
    line_of,
    plain,
)

Path = tuple[str, ...]
_Value = TypeVar("_Value")


class Reader:
    """Reads one file into typed entries, and collects its faults. lines: path of a field -> its line, from 1."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.faults: list[Fault] = []
        self.lines: dict[Path, int] = {}
        self._unsound: set[Path] = set()

    def fault(self, path: Path, allowed: str, found: object, line: int | None = None) -> None:
        """Note a fault at a line; unless given, the field's, or that of the nearest one above it in the file.

        found: quoted, unless it is Description.
        """
        at = path
        while at and at not in self.lines:
            at = at[:-1]
        text = str(found) if isinstance(found, Description) else repr(found)
        self.faults.append(
            Fault(self.file, line or self.lines.get(at, 1), ".".join(path)[:300], text[:200], allowed[:500])
        )
        self._unsound.update(path[:length] for length in range(len(path) + 1))

    def sound(self, path: Path) -> bool:
        """Whether no fault was noted at a field or anywhere below it."""
        return path not in self._unsound

    def raise_faults(self) -> None:
        """Raise InvalidPolicyError if there were any faults."""
        if self.faults:
            raise InvalidPolicyError(self.faults)

    def check_one_of(self, name: str | None, names: Collection[str], path: Path) -> None:
        """Note a fault unless a name is one of these; None is one with a fault that is noted already."""
        if name is not None and name not in names:
            known = ", ".join(itertools.islice(names, 20))
            self.fault(path, f"one of {known}" if known else "a name that this file defines; there is none", name)

    def check_each(self, texts: Sequence[str] | None, fault_of: Callable[[str], str | None], path: Path) -> None:
        """Note what `fault_of` says of each text of a list."""
        for where, one in each(texts or (), path):
            if fault := fault_of(one):
                self.fault(where, fault, one)

    def read(self, node: yaml.Node, kind: Any, path: Path = ()) -> Any:  # noqa: ANN401  returns a `kind`
        """Return the node as a value of a type: a Struct, a mapping or list of some, or a leaf; None with a fault.

        What is beside a fault is returned all the same, so that it is checked in the same run: a field or element with
        a fault is None then, even where its type has no None. `sound` tells.
        """
        self.lines.setdefault(path, line_of(node))
        kind, description, most = _bare(kind, listed=isinstance(node, yaml.SequenceNode))
        origin = typing.get_origin(kind)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._struct(node, kind, path)
        if isinstance(node, yaml.CollectionNode) and most is not None and len(node.value) > most:
            self.fault(path, f"at most {most}", len(node.value))
        if origin is dict and typing.get_args(kind)[1] is not Any:
            return self._mapping(node, kind, path)
        if origin is list:
            return self._list(node, typing.get_args(kind)[0], path)
        self._check_keys_once(node, path)
        value = plain(node)
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            allowed = "true or false" if kind is bool or bool in typing.get_args(kind)[:1] else description
            self.fault(path, allowed or str(error), value if is_text(node) else described(node))
            return None

    def members(self, node: yaml.Node, kind: type[msgspec.Struct], path: Path) -> dict[str, Any]:
        """Return the members of a Struct that are in the file; one with a fault may be None."""
        entries = self._entries(node, path)
        if entries is None:
            return {}
        fields = _fields(kind)
        for name in entries.keys() - fields.keys():
            self.fault((*path, name), f"the fields {', '.join(fields)}", Description(f"an unknown field {name!r}"))
        for name, field in fields.items():
            if name not in entries and field.required:
                self.fault(path, f"a field {name!r}", Description(f"no {name}"))
        known = [name for name in fields if name in entries]
        return {name: self.read(entries[name], fields[name].type, (*path, name)) for name in known}

    def _struct(self, node: yaml.Node, kind: type[msgspec.Struct], path: Path) -> msgspec.Struct | None:
        members = self.members(node, kind, path)
        given = {name: value for name, value in members.items() if value is not None}
        required = [name for name, field in _fields(kind).items() if field.required]
        known = isinstance(node, yaml.MappingNode) and node.value
        return kind(**{**dict.fromkeys(required), **given}) if known else None

    def _mapping(self, node: yaml.Node, kind: Any, path: Path) -> dict[str, Any] | None:  # noqa: ANN401  a type
        name_kind, value_kind = typing.get_args(kind)
        entries = self._entries(node, path)
        if entries is None:
            return None
        _, allowed, _ = _bare(name_kind, listed=False)
        for name in entries:
            try:
                msgspec.convert(name, name_kind)
            except msgspec.ValidationError as error:
                self.fault((*path, name), allowed or str(error), name)
        return {name: self.read(value, value_kind, (*path, name)) for name, value in entries.items()}

    def _list(self, node: yaml.Node, kind: Any, path: Path) -> list[Any] | None:  # noqa: ANN401  a type
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            self.fault(path, "a list that is not empty", described(node))
            return None
        found: list[Any] = []
        seen: set[str] = set()
        for index, one in enumerate(node.value):
            here = (*path, str(index))
            value = self.read(one, kind, here)
            text = json.dumps(plain(one), sort_keys=True)
            if value is not None and text in seen:
                self.fault(here, "each value once", plain(one))
            seen.add(text)
            found.append(value)
        return found

    def _entries(self, node: yaml.Node, path: Path) -> dict[str, yaml.Node] | None:
        """The members of a mapping that is not empty, each key once."""
        if not isinstance(node, yaml.MappingNode) or not node.value:
            self.fault(path, "a mapping that is not empty", described(node))
            return None
        entries: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name, line = key_of(key), line_of(key)
            if name is None or name == "<<":
                self.fault((*path, "?"), "a key that is text, or a list of names", described(key), line)
            elif name in entries:
                self.fault((*path, name), "each key once", name, line)
            else:
                self.lines[(*path, name)] = line
                entries[name] = value
        return entries

    def _check_keys_once(self, node: yaml.Node, path: Path) -> None:
        """The same for what is read as it stands, at any depth."""
        if isinstance(node, yaml.MappingNode) and node.value:
            for name, value in (self._entries(node, path) or {}).items():
                self._check_keys_once(value, (*path, name))
        elif isinstance(node, yaml.SequenceNode):
            for index, one in enumerate(node.value):
                self._check_keys_once(one, (*path, str(index)))


def each(values: Sequence[_Value | None], path: Path) -> Iterator[tuple[Path, _Value]]:
    """Return a list's values with their paths, but for those with a fault that is noted already."""
    return (((*path, str(index)), one) for index, one in enumerate(values) if one is not None)


def path_of(claim: str) -> Path | None:
    """Return the path that a key of `claims` stands for: one name, or the names of a JSON list; None for neither."""
    if not claim.startswith("["):
        return (claim,)
    try:
        names = json.loads(claim)
        json.dumps(names, ensure_ascii=False).encode()  # JSON can spell half a surrogate pair, which is no text
    except (ValueError, RecursionError):
        return None
    return tuple(names) if names and all(isinstance(name, str) and name for name in names) else None


@functools.cache
def _fields(kind: type[msgspec.Struct]) -> Mapping[str, msgspec.structs.FieldInfo]:
    # Remembered, for msgspec evaluates the annotations at each call: two thirds of the time of a large file.
    return {field.name: field for field in msgspec.structs.fields(kind)}


@functools.cache
def _bare(kind: Any, *, listed: bool) -> tuple[Any, str, int | None]:  # noqa: ANN401  types
    """A type without its `| None`, with the branch of a union that fits the node; what it is, and its size at most."""
    if isinstance(kind, str):
        raise TypeError(kind)
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        options = [one for one in typing.get_args(kind) if one is not types.NoneType]
        lists = [one for one in options if _holds_list(one)]
        leaves = [one for one in options if not _holds_list(one)]
        if listed and lists:
            return _bare(lists[0], listed=listed)
        if len(leaves) == 1 or (len(options) == 1):
            return _bare(leaves[0] if leaves else options[0], listed=listed)
        return Union[tuple(leaves)], _description(leaves[0]), None  # noqa: UP007  made of a list of types
    if origin is Annotated:
        bare = typing.get_args(kind)[0]
        if typing.get_origin(bare) in (dict, list):
            return bare, _description(kind), next((meta.max_length for meta in kind.__metadata__), None)
        return kind, _description(kind), None
    return kind, "", None


def _holds_list(kind: Any) -> bool:  # noqa: ANN401  a type
    bare = typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind
    return typing.get_origin(bare) is list


def _description(kind: Any) -> str:  # noqa: ANN401  a type
    texts = [meta.description for meta in getattr(kind, "__metadata__", ()) if getattr(meta, "description", None)]
    return str(texts[-1]) if texts else ""
