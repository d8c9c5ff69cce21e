"""YAML as PyYAML's nodes, which know their lines; what is not plain is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import yaml
from yaml.reader import Reader as YamlReader

SIZE_LIMIT = 4 * 1024 * 1024
"""Characters of a policy file at most; 10,000 grants are some 3 million."""
DEPTH_LIMIT = 20
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SCALARS = {
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "a boolean",
    "null": "nothing",
    "timestamp": "a date",
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


class Description(str):
    """Words about what was found, as against a quotation of it."""

    __slots__ = ()


class InvalidPolicyError(Exception):
    """A policy file with faults, all of them, by line."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(dict.fromkeys(faults), key=lambda fault: (fault.line, fault.field)))
        super().__init__("\n".join(str(fault) for fault in self.faults))


def parse_yaml(text: str, file: str) -> yaml.Node:
    """Read YAML into a node; raises InvalidPolicyError if it is none, too large or deep, or has anchors, tags or two documents."""
    if len(text) > SIZE_LIMIT:
        raise InvalidPolicyError([Fault(file, 1, "", f"{len(text)} characters", f"at most {SIZE_LIMIT}")])
    strange = YamlReader.NON_PRINTABLE.search(text)
    if strange:
        line, found = text.count("\n", 0, strange.start()) + 1, f"the character U+{ord(strange[0]):04X}"
        raise InvalidPolicyError([Fault(file, line, "", found, "characters that can be printed")])
    try:
        _check_events(text, file)
        node = yaml.compose(text, _LOADER)
    except yaml.YAMLError as error:
        problem = str(getattr(error, "problem", error)).removeprefix("but ").removeprefix("found ")
        raise InvalidPolicyError(
            [Fault(file, _line(getattr(error, "problem_mark", None)), "", problem, "YAML")]
        ) from None
    if node is None:
        raise InvalidPolicyError([Fault(file, 1, "", "nothing", "keys, issuers and grants")])
    return node


def plain(node: yaml.Node) -> Any:  # noqa: ANN401  text, a number, a boolean, None, or lists and mappings of them
    """Return a node's value. Text stays text: only `true`, `false` and decimal numbers are anything else."""
    if isinstance(node, yaml.SequenceNode):
        return [plain(one) for one in node.value]
    if isinstance(node, yaml.MappingNode):
        return {key_of(key) or "?": plain(value) for key, value in node.value}
    kind = node.tag.rpartition(":")[2]
    if kind == "bool" and node.value in ("true", "false"):
        return node.value == "true"
    if kind == "int" and _WHOLE_NUMBER.fullmatch(node.value):
        return int(node.value)
    return node.value if kind == "str" else None


def key_of(node: yaml.Node) -> str | None:
    """A key: text, or a list of names, which becomes the JSON of it."""
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    names = plain(node)
    if isinstance(names, list) and names and all(isinstance(name, str) and name for name in names):
        return json.dumps(names)
    return None


def is_text(node: yaml.Node) -> bool:
    """Whether a node is text."""
    return isinstance(node, yaml.ScalarNode) and node.tag.endswith(":str")


def line_of(node: yaml.Node) -> int:
    """The line on which a node starts, from 1."""
    return _line(node.start_mark)


def described(node: yaml.Node) -> Description:
    """What a node is, in words."""
    if isinstance(node, yaml.MappingNode):
        return Description("a mapping" if node.value else "an empty mapping")
    if isinstance(node, yaml.SequenceNode):
        return Description("a list" if node.value else "an empty list")
    kind = node.tag.rpartition(":")[2]
    word = _SCALARS.get(kind, "a sign of YAML's")
    text = repr(node.value[:100]) if kind == "str" else node.value[:100]
    return Description(word if kind == "null" or not node.value else f"{word} ({text})")


def _check_events(text: str, file: str) -> None:
    try:
        _check_each_event(text, file)
    except yaml.MarkedYAMLError as error:
        if "nesting depth" not in (error.problem or ""):
            raise
        # Newer releases of libyaml have a limit of their own, which their scanner meets before the first event comes.
        raise InvalidPolicyError([_too_deep(file, _line(error.problem_mark))]) from None


def _check_each_event(text: str, file: str) -> None:
    faults: list[Fault] = []
    depth = 0
    for event in yaml.parse(text, _LOADER):
        line = _line(event.start_mark)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        # SECURITY: the parser's time grows with the square of the depth, and composing recurses into it
        # (test_no_depth_takes_long).
        if depth > DEPTH_LIMIT:
            raise InvalidPolicyError([*faults, _too_deep(file, line)])
        # SECURITY: an alias can blow a small file up to gigabytes, and a tag can name Python objects; neither is let in
        # (test_anchors_aliases_and_tags_are_faults).
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
            faults.append(Fault(file, line, "", "an anchor, alias or tag", "plain YAML"))
    if faults:
        raise InvalidPolicyError(faults)


def _too_deep(file: str, line: int) -> Fault:
    return Fault(file, line, "", "too many levels", f"at most {DEPTH_LIMIT}")


def _line(mark: object) -> int:
    return int(getattr(mark, "line", 0)) + 1
