"""YAML with a line for every fault: a strict reader over PyYAML's nodes, that goes on after the first fault."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import yaml
from yaml.reader import Reader as YamlReader

SIZE_LIMIT = 1024 * 1024
DEPTH_LIMIT = 20
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SCALARS = {
    "tag:yaml.org,2002:str": "text",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:bool": "a boolean",
    "tag:yaml.org,2002:null": "nothing",
    "tag:yaml.org,2002:timestamp": "a date",
}
# Decimal and canonical: what `010`, `1_0` and `1:10` mean depends on who reads it. Within 2**53, as JSON's readers want.
_WHOLE_NUMBER = re.compile("0|-?[1-9][0-9]{0,14}")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a policy file. line: from 1. field: its path, e.g. `grants.app.ttl`."""

    file: str
    line: int
    field: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field or 'file'}: found {self.found}, allowed: {self.allowed}"

    def to_json(self) -> dict[str, object]:
        """Return the form that the admin API answers."""
        return asdict(self)


class PolicyInvalid(Exception):  # noqa: N818  named like the other refusals
    """A policy file with faults, all of them, by line."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(dict.fromkeys(faults), key=lambda fault: (fault.line, fault.field)))
        super().__init__("\n".join(str(fault) for fault in self.faults))


class Reader:
    """Collects the faults of one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.faults: list[Fault] = []

    def raise_faults(self) -> None:
        """Raise PolicyInvalid if there were any."""
        if self.faults:
            raise PolicyInvalid(self.faults)


@dataclass(frozen=True, slots=True)
class Node:
    """A value in the file, with its place. Readers return None, or nothing, after noting a fault."""

    reader: Reader
    field: str
    yaml: yaml.Node

    def fault(self, allowed: str, found: object) -> None:
        """Note a fault at this place."""
        text = repr(found) if isinstance(found, str) else str(found)
        self.reader.faults.append(Fault(self.reader.file, _line(self.yaml.start_mark), self.field, text[:200], allowed))

    def mapping(self) -> list[tuple[str, Node]]:
        """Read a mapping that is not empty, with each key once."""
        if not isinstance(self.yaml, yaml.MappingNode) or not self.yaml.value:
            self.fault("a mapping that is not empty", self._kind())
            return []
        entries: dict[str, Node] = {}
        for key, value in self.yaml.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            entry = Node(self.reader, f"{self.field}.{name}".lstrip("."), value)
            if not isinstance(key, yaml.ScalarNode) or name == "<<":
                entry.fault("a plain key", name)
            elif name in entries:
                Node(self.reader, entry.field, key).fault("each key once", name)
            else:
                entries[name] = entry
        return list(entries.items())

    def fields(self, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()) -> Mapping[str, Node]:
        """Read a mapping of exactly these fields."""
        found = dict(self.mapping())
        allowed = ", ".join((*required, *optional))
        for name in found.keys() - {*required, *optional}:
            found[name].fault(f"the fields {allowed}", f"an unknown field {name!r}")
        if isinstance(self.yaml, yaml.MappingNode):
            for name in required:
                if name not in found:
                    self.fault(f"a field {name!r}", f"no {name}")
        return found

    def is_sequence(self) -> bool:
        """Whether this is a list."""
        return isinstance(self.yaml, yaml.SequenceNode)

    def sequence(self) -> list[Node]:
        """Read a list that is not empty, with each value once."""
        if not isinstance(self.yaml, yaml.SequenceNode) or not self.yaml.value:
            self.fault("a list that is not empty", self._kind())
            return []
        nodes = [Node(self.reader, f"{self.field}[{index}]", one) for index, one in enumerate(self.yaml.value)]
        seen: set[tuple[str, str]] = set()
        for node in nodes:
            this = (node.yaml.tag, str(node.yaml.value))
            if this in seen:
                node.fault("each value once", node.scalar())
            seen.add(this)
        return nodes

    def scalar(self) -> object:
        """Return the value as written, of whatever kind, without noting faults."""
        return self.yaml.value if isinstance(self.yaml, yaml.ScalarNode) else self._kind()

    def string(self) -> str | None:
        """Read text that is not empty; a bare number or boolean is not text."""
        if self._kind() != "text" or not self.yaml.value:
            self.fault("text (quote it if it looks like something else)", self._found())
            return None
        return str(self.yaml.value)

    def boolean(self) -> bool | None:
        """Read true or false."""
        if self._kind() != "a boolean" or self.yaml.value not in ("true", "false"):
            self.fault("true or false", self._found())
            return None
        return bool(self.yaml.value == "true")

    def choice(self, allowed: Iterable[str]) -> str | None:
        """Read one of some names."""
        names = list(allowed)
        value = self.string()
        if value is not None and value not in names:
            self.fault(f"one of {', '.join(names)}", value)
            return None
        return value

    def claim_value(self) -> str | int | bool | None:
        """Read a claim's value: text, a whole number or a boolean, each of which matches its own type only."""
        kind, value = self._kind(), self.yaml.value
        if kind == "a boolean":
            return self.boolean()
        if kind == "a number" and _WHOLE_NUMBER.fullmatch(value):
            return int(value)
        return self.string()

    def _kind(self) -> str:
        if isinstance(self.yaml, yaml.MappingNode):
            return "a mapping"
        if isinstance(self.yaml, yaml.SequenceNode):
            return "a list"
        return _SCALARS.get(self.yaml.tag, "a sign of YAML's")

    def _found(self) -> str:
        kind = self._kind()
        return f"{kind} ({self.yaml.value})" if isinstance(self.yaml, yaml.ScalarNode) and self.yaml.value else kind


def read(text: str, reader: Reader) -> Node:
    """Read YAML into a node; raises PolicyInvalid if it is none, too large or deep, or has anchors, tags or two documents."""
    if len(text) > SIZE_LIMIT:
        raise PolicyInvalid([Fault(reader.file, 1, "", f"{len(text)} characters", f"at most {SIZE_LIMIT}")])
    strange = YamlReader.NON_PRINTABLE.search(text)
    if strange:
        line, found = text.count("\n", 0, strange.start()) + 1, f"the character U+{ord(strange[0]):04X}"
        raise PolicyInvalid([Fault(reader.file, line, "", found, "characters that can be printed")])
    try:
        _check_events(text, reader)
        node = yaml.compose(text, _LOADER)
    except yaml.MarkedYAMLError as error:
        problem = str(error.problem).removeprefix("but ").removeprefix("found ")
        raise PolicyInvalid([Fault(reader.file, _line(error.problem_mark), "", problem, "YAML")]) from None
    if node is None:
        raise PolicyInvalid([Fault(reader.file, 1, "", "nothing", "keys, issuers and grants")])
    return Node(reader, "", node)


def _check_events(text: str, reader: Reader) -> None:
    depth = 0
    faults: list[Fault] = []
    for event in yaml.parse(text, _LOADER):
        line = _line(event.start_mark)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        # SECURITY: the parser's time grows with the square of the depth, and composing recurses into it
        # (test_no_depth_takes_long).
        if depth > DEPTH_LIMIT:
            raise PolicyInvalid([*faults, Fault(reader.file, line, "", "too many levels", f"at most {DEPTH_LIMIT}")])
        # SECURITY: an alias can blow a small file up to gigabytes, and a tag can name Python objects; neither is let in
        # (test_anchors_aliases_and_tags_are_faults).
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
            faults.append(Fault(reader.file, line, "", "an anchor, alias or tag", "plain YAML"))
    if faults:
        raise PolicyInvalid(faults)


def _line(mark: object) -> int:
    return int(getattr(mark, "line", 0)) + 1
