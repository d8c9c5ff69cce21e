"""Parses a policy file's YAML into nodes, in one pass. Anything but plain YAML is refused."""

from __future__ import annotations

import yaml
from yaml.reader import Reader as YamlReader
from yaml.resolver import Resolver

from chalicelib.policy.faults import Fault, InvalidPolicyError, Path, fault_at
from chalicelib.policy.yaml_nodes import Document, ListNode, MappingNode, Node, ScalarNode, describe, key_name

SIZE_LIMIT = 4 * 1024 * 1024
"""Characters of a policy file at most; 10,000 grants are some 3 million."""
DEPTH_LIMIT = 20
"""Levels of lists and mappings at most."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER = Resolver()


def parse_yaml(text: str, file: str) -> Document:
    """Read YAML; raises InvalidPolicyError if it is malformed, too large or deep, or has anchors, tags or two documents."""
    if len(text) > SIZE_LIMIT:
        raise InvalidPolicyError([Fault(file, 1, "", f"{len(text)} characters", f"at most {SIZE_LIMIT}")])
    unprintable = YamlReader.NON_PRINTABLE.search(text)
    if unprintable:
        line, found = text.count("\n", 0, unprintable.start()) + 1, f"the character U+{ord(unprintable[0]):04X}"
        raise InvalidPolicyError([Fault(file, line, "", found, "characters that can be printed")])
    try:
        return _build(text, file)
    except yaml.YAMLError as error:
        problem, line = str(getattr(error, "problem", error)), _line(getattr(error, "problem_mark", None))
        # Newer releases of libyaml have a limit of their own, which their scanner meets before the first event comes.
        fault = _too_deep(file, line) if "nesting depth" in problem else Fault(file, line, "", _found(problem), "YAML")
        raise InvalidPolicyError([fault]) from None


class _Open:
    """A list or a mapping that is being read."""

    __slots__ = ("children", "is_mapping", "line", "path")

    def __init__(self, path: Path | None, line: int, *, is_mapping: bool) -> None:
        self.path = path
        """None within a key."""
        self.line = line
        self.is_mapping = is_mapping
        self.children: list[Node] = []
        """A list's elements, or a mapping's keys and values in turn."""

    def key(self) -> Node | None:
        """The key whose value comes next, if one does."""
        return self.children[-1] if self.is_mapping and len(self.children) % 2 else None

    def path_of_next(self) -> Path | None:
        """The path of the next child; None if it is a key or within one."""
        key = self.key()
        if self.path is None or (self.is_mapping and key is None):
            return None
        return (*self.path, str(len(self.children)) if key is None else _name(key))


class _Tree:
    """Builds the tree from the parser's events, from the leaves to the root."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.faults: list[Fault] = []
        self.outermost = _Open(None, 0, is_mapping=False)
        """Holds the root of each document."""
        self.open = [self.outermost]

    def add(self, event: yaml.Event, own_line: int) -> None:
        """Take the next event; those of the document and the stream as a whole change nothing."""
        outer = self.open[-1]
        key = outer.key()
        line = own_line if key is None else key.line
        if isinstance(event, yaml.ScalarEvent):
            outer.children.append(ScalarNode(line, _kind(event), event.value))
        elif isinstance(event, yaml.CollectionStartEvent):
            path = () if outer is self.outermost else outer.path_of_next()
            self.open.append(_Open(path, line, is_mapping=isinstance(event, yaml.MappingStartEvent)))
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self.open.pop()
            self.open[-1].children.append(
                self._mapping(done) if done.is_mapping else ListNode(done.line, done.children)
            )

    def _mapping(self, done: _Open) -> MappingNode:
        members: dict[str, Node] = {}
        keys, values = done.children[::2], done.children[1::2]
        for key, value in zip(keys, values, strict=False):  # an alias, which is refused, leaves none
            name = key_name(key)
            if name is None or name == "<<":
                self._note(done, key, "?", "a key that is text, or a list of names", describe(key))
            elif name in members:
                self._note(done, key, name, "each key once", name)
            else:
                members[name] = value
        return MappingNode(done.line, members, len(keys))

    def _note(self, mapping: _Open, key: Node, name: str, allowed: str, found: str) -> None:
        if mapping.path is not None:  # else it is within a key that is a fault itself
            self.faults.append(fault_at(self.file, key.line, (*mapping.path, name), allowed, found))


def _build(text: str, file: str) -> Document:
    tree, refused, another = _Tree(file), [], []
    for event in yaml.parse(text, _LOADER):
        line = _line(event.start_mark)
        # SECURITY: an alias can blow a small file up to gigabytes, and a tag can name Python objects; both are refused
        # (test_anchors_aliases_and_tags_are_faults).
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
            refused.append(Fault(file, line, "", "an anchor, alias or tag", "plain YAML"))
        if isinstance(event, yaml.DocumentStartEvent) and tree.outermost.children:
            another.append(Fault(file, line, "", "another document", "YAML"))
        tree.add(event, line)
        # SECURITY: the parser's time grows with the square of the depth (test_no_depth_takes_long).
        if len(tree.open) > DEPTH_LIMIT + 1:
            raise InvalidPolicyError([*refused, _too_deep(file, line)])
    if refused or another:
        raise InvalidPolicyError(refused or another[:1])
    if not tree.outermost.children:
        raise InvalidPolicyError([Fault(file, 1, "", "nothing", "keys, issuers and grants")])
    return Document(file, tree.outermost.children[0], tuple(tree.faults))


def _kind(event: yaml.ScalarEvent) -> str:
    if not event.implicit[0]:  # in quotes, or a block
        return "str"
    tag: str = _RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit)  # type: ignore[no-untyped-call]
    return tag.rpartition(":")[2]


def _name(key: Node) -> str:
    name = key_name(key)
    return "?" if name is None else name


def _too_deep(file: str, line: int) -> Fault:
    return Fault(file, line, "", "too many levels", f"at most {DEPTH_LIMIT}")


def _found(problem: str) -> str:
    return problem.removeprefix("but ").removeprefix("found ")


def _line(mark: object) -> int:
    return int(getattr(mark, "line", 0)) + 1
