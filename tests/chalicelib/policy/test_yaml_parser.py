"""YAML in one pass: what is refused, and which keys are faults."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.policy.faults import Fault, InvalidPolicyError
from chalicelib.policy.yaml_nodes import Node, plain
from chalicelib.policy.yaml_parser import DEPTH_LIMIT, SIZE_LIMIT, parse_yaml


def root(text: str) -> Node:
    return parse_yaml(text, "k.yaml").root


def refused(text: str) -> list[tuple[int, str, str]]:
    """Read a text that is refused; return line, what was found and what is allowed of each fault."""
    with pytest.raises(InvalidPolicyError) as caught:
        parse_yaml(text, "k.yaml")
    assert {(fault.file, fault.field) for fault in caught.value.faults} == {("k.yaml", "")}
    return [(fault.line, fault.found, fault.allowed) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: &x 1\n", 1),
        ("a: 1\nb: *x\n", 2),
        ("a: 1\n\n# more\nb: &x [1]\n", 4),
        ("a: &x {b: 1}\n", 1),
        ("a: 1\nb: !!str 1\n", 2),
        ("a: ! 1\n", 1),
        ("a: !own 1\n", 1),
        ("a: !!python/object/apply:os.system [id]\n", 1),
        ("a: 1\n!!str b: 1\n", 2),
        ("a: !!set {b}\n", 1),
        ("%TAG ! tag:issuer.test,2026:\n---\na: !x 1\n", 3),
    ],
)
def test_anchors_aliases_and_tags_are_faults(text: str, line: int) -> None:
    assert refused(text) == [(line, "an anchor, alias or tag", "plain YAML")]


def test_all_anchors_in_one_run() -> None:
    """Every anchor, alias and tag is told in one run."""
    assert [line for line, *_ in refused("a: &x 1\nb: *x\nc: 1\nd: !!str 1\n")] == [1, 2, 4]


def test_alias_bomb() -> None:
    """A file that aliases would blow up is refused in no time."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    started = time.monotonic()
    assert refused("\n".join(lines))[0][1] == "an anchor, alias or tag"
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("text", ["a: 1\n---\nb: 1\n", "---\na: 1\n---\n", "a: 1\n...\n---\nb: 1\n"])
def test_second_document(text: str) -> None:
    """A second document is a fault at its line."""
    assert refused(text) == [(text[: text.rindex("---")].count("\n") + 1, "another document", "YAML")]


@pytest.mark.parametrize("text", ["---\na: 1\n", "a: 1\n...\n", "\ufeffa: 1\n", "%YAML 1.1\n---\na: 1\n", "a: 1"])
def test_document_markers(text: str) -> None:
    """The markers of a single document are fine."""
    assert plain(root(text)) == {"a": 1}


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing yet\n", " \n"])
def test_empty_file(text: str) -> None:
    """An empty file is refused with what it lacks."""
    assert refused(text) == [(1, "nothing", "keys, issuers and grants")]


def test_size_limit() -> None:
    """A file may have as many characters as the limit says and not one more."""
    fits = "a: 1\n#".ljust(SIZE_LIMIT, "x")
    assert plain(root(fits)) == {"a": 1}
    assert refused(fits + "x") == [(1, f"{SIZE_LIMIT + 1} characters", f"at most {SIZE_LIMIT}")]


LEVELS = "too many levels"
DEEP = {
    "lists": "a: " + "[" * 500_000 + "]" * 500_000,
    "lists without end": "[" * 1_000_000,
    "mappings": "{a: " * 200_000 + "1" + "}" * 200_000,
    "mappings without end": "{" * 1_000_000,
    "dashes": "- " * 500_000,
    "questions": "? " * 500_000,
    "both": "[{a: " * 150_000,
    "blocks": "".join(" " * depth + "a:\n" for depth in range(1_200)),
}


@pytest.mark.parametrize("how", DEEP)
def test_no_depth_takes_long(how: str) -> None:
    started = time.monotonic()
    assert [(found, allowed) for _, found, allowed in refused(DEEP[how])] == [(LEVELS, f"at most {DEPTH_LIMIT}")]
    assert time.monotonic() - started < 10


def test_depth_limit() -> None:
    """A file may have as many levels as the limit says; the fault is at the line of the next."""

    def nested(depth: int) -> str:
        return "a:\n  " + "[" * depth + "1" + "]" * depth

    parse_yaml(nested(DEPTH_LIMIT - 1), "k.yaml")
    assert refused(nested(DEPTH_LIMIT)) == [(2, LEVELS, f"at most {DEPTH_LIMIT}")]


def test_width_is_not_depth() -> None:
    assert len(plain(root("".join(f"a{n}: [{{b: 1}}]\n" for n in range(1_000))))) == 1_000


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("a:\n\tb: 1\n", 2, "character that cannot start any token"),
        ("\ta: 1\n", 1, "character that cannot start any token"),
        ("a: 1\nb: [1\nc: 2\n", 3, "did not find expected ',' or ']'"),
        ("a: 1\n b: 2\n", 2, "mapping values are not allowed in this context"),
        ("a: 1\nb: @x\n", 2, "character that cannot start any token"),
        ("a: 1\nb\nc: 2\n", 3, "could not find expected ':'"),
        ("a: 'x\n\n", 3, "unexpected end of stream"),
        ("a: 1\nb: \x07\n", 2, "the character U+0007"),
        ("a: 1\n\nb: x\x00y\n", 3, "the character U+0000"),
        ('a: "\ud800"\n', 1, "the character U+D800"),
    ],
)
def test_malformed_yaml(text: str, line: int, found: str) -> None:
    """Malformed YAML is a fault at its line."""
    assert [(at, what) for at, what, _ in refused(text)] == [(line, found)]


@given(st.text(st.characters(codec=None), max_size=40) | st.text("a:-?[]{},&*!|>'\"%@` #\n\t~<1\ufeff\x85\u2028\ud800"))
@example("a: \U0010ffff\ufeff")
@example("\ufeff\ufeff")
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """Any text is parsed, or refused with faults at its lines."""
    lines = 1 + sum(text.count(mark) for mark in "\n\r\x85\u2028\u2029")
    faults: tuple[Fault, ...] = ()
    try:
        json.dumps(plain(root(text)))
    except InvalidPolicyError as invalid:
        faults = invalid.faults
    assert all(1 <= fault.line <= lines + 1 for fault in faults)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("kubernetes.io/x", "kubernetes.io/x"),
        ("1", "1"),
        ("true", "true"),
        ("~", "~"),
        ('""', ""),
        ("[a, b]", '["a", "b"]'),
        ('["a"]', '["a"]'),
        ("[a, 1]", None),
        ("[a, true]", None),
        ("[a, [b]]", None),
        ('[a, ""]', None),
        ("[]", None),
        ("{a: b}", None),
    ],
)
def test_keys(written: str, name: str | None) -> None:
    """A key is text, or a list of names; anything else is a fault."""
    document = parse_yaml(f"? {written}\n: x\n", "k.yaml")
    assert plain(document.root) == ({} if name is None else {name: "x"})
    assert [one.field for one in document.faults] == ([] if name is not None else ["?"])


def test_repeated_keys_at_any_depth() -> None:
    """A key that occurs twice is a fault at its second place, with its path, and the first one stands."""
    document = parse_yaml("a:\n  - {b: 1, b: 2}\n  - ? [c, c]\n    : {d: 1, d: 2}\na: 3\n", "k.yaml")
    assert plain(document.root) == {"a": [{"b": 1}, {'["c", "c"]': {"d": 1}}]}
    assert [(one.line, one.field) for one in document.faults] == [(2, "a.0.b"), (4, 'a.1.["c", "c"].d'), (5, "a")]


def test_faults_within_faulty_keys_are_left_out() -> None:
    """An invalid key is one fault, no matter what it contains."""
    assert [one.field for one in parse_yaml("? {a: 1, a: 2}\n: x\n", "k.yaml").faults] == ["?"]
