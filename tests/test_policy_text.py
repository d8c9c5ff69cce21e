"""The YAML reader: what it refuses, where it says a fault is, and that it takes nothing for something else."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chalicelib import policy
from chalicelib.policy_text import DEPTH_LIMIT, SIZE_LIMIT, Fault, Node, PolicyInvalid, Reader, read

STEADY = settings(derandomize=True, deadline=None)  # the same examples on every machine, however busy
TEXT = "text (quote it if it looks like something else)"


def node(text: str) -> Node:
    """Read a text that is YAML; its faults are in `.reader.faults`."""
    return read(text, Reader("k.yaml"))


def value(written: str) -> Node:
    """Read a value as it is written after `a: `."""
    return node(f"a: {written}\n").fields(required=("a",))["a"]


def refused(text: str) -> list[tuple[int, str, str]]:
    """Read a text that is refused as a whole; return line, what was found and what is allowed."""
    with pytest.raises(PolicyInvalid) as caught:
        node(text)
    assert {(fault.file, fault.field) for fault in caught.value.faults} == {("k.yaml", "")}
    return [(fault.line, fault.found, fault.allowed) for fault in caught.value.faults]


def noted(one: Node) -> list[tuple[int, str, str]]:
    """Return line, field and what was found of each fault that was noted so far."""
    return [(fault.line, fault.field, fault.found) for fault in one.reader.faults]


# Whole files


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


def test_every_anchor_alias_and_tag_is_told_in_one_run() -> None:
    assert [line for line, *_ in refused("a: &x 1\nb: *x\nc: 1\nd: !!str 1\n")] == [1, 2, 4]


def test_a_bomb_of_aliases_is_refused_before_it_goes_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    started = time.monotonic()
    assert refused("\n".join(lines))[0][1] == "an anchor, alias or tag"
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("text", ["a: 1\n---\nb: 1\n", "---\na: 1\n---\n", "a: 1\n...\n---\nb: 1\n"])
def test_a_second_document_is_a_fault_at_its_line(text: str) -> None:
    assert refused(text) == [(text[: text.rindex("---")].count("\n") + 1, "another document", "YAML")]


@pytest.mark.parametrize("text", ["---\na: 1\n", "a: 1\n...\n", "\ufeffa: 1\n", "%YAML 1.1\n---\na: 1\n", "a: 1"])
def test_the_marks_of_one_document_are_fine(text: str) -> None:
    one = node(text)
    assert one.fields(required=("a",))["a"].claim_value() == 1
    assert noted(one) == []


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing yet\n", " \n"])
def test_an_empty_file_is_refused_and_told_what_it_lacks(text: str) -> None:
    assert refused(text) == [(1, "nothing", "keys, issuers and grants")]


def test_a_file_may_have_a_mebi_of_characters_and_not_one_more() -> None:
    fits = "a: 1\n#".ljust(SIZE_LIMIT, "x")
    assert node(fits).fields(required=("a",))["a"].claim_value() == 1
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
    assert time.monotonic() - started < 1


def test_the_depth_is_counted_at_its_line_and_what_is_needed_is_let_in() -> None:
    def nested(depth: int) -> str:
        return "a:\n  " + "[" * depth + "1" + "]" * depth

    assert node(nested(DEPTH_LIMIT - 1)).fields(required=("a",))
    assert refused(nested(DEPTH_LIMIT)) == [(2, LEVELS, f"at most {DEPTH_LIMIT}")]


def test_width_is_not_depth() -> None:
    one = node("".join(f"a{n}: [{{b: 1}}]\n" for n in range(1_000)))
    assert len(one.mapping()) == 1_000
    assert noted(one) == []


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
def test_what_is_no_yaml_is_told_with_its_line(text: str, line: int, found: str) -> None:
    assert [(at, what) for at, what, _ in refused(text)] == [(line, found)]


@STEADY
@given(st.text(st.characters(codec=None), max_size=40) | st.text("a:-?[]{},&*!|>'\"%@` #\n\t~<1\ufeff\x85\u2028\ud800"))
@example("a: \U0010ffff\ufeff")
@example("\ufeff\ufeff")
def test_any_text_at_all_is_read_or_refused_with_faults(text: str) -> None:
    faults: Sequence[Fault] = ()
    try:
        one = node(text)
        for _, entry in one.mapping():
            entry.claim_value()
        faults = one.reader.faults
    except PolicyInvalid as invalid:
        faults = invalid.faults
    lines = 1 + sum(text.count(mark) for mark in "\n\r\x85\u2028\u2029")
    assert all(1 <= fault.line <= lines + 1 for fault in faults)


# Mappings


def test_a_key_that_comes_twice_is_a_fault_at_its_second_place() -> None:
    one = node('a: 1\nb:\n  c: 1\n  d: 2\n  "c": 3\na: 2\n')
    entries = dict(one.mapping())
    assert [name for name, _ in entries["b"].mapping()] == ["c", "d"]
    assert noted(one) == [(6, "a", "'a'"), (5, "b.c", "'c'")]
    assert entries["a"].claim_value() == 1  # the first stands; a later one cannot quietly replace it


@pytest.mark.parametrize("key", ["<<", '"<<"', "? [a]\n", "? {a: 1}\n"])
def test_a_merge_or_a_key_that_is_no_text_is_a_fault(key: str) -> None:
    one = node(f"b: 1\n{key}: {{c: 1}}\n")
    assert [name for name, _ in one.mapping()] == ["b"]
    assert [fault.allowed for fault in one.reader.faults] == ["a plain key"]
    assert one.reader.faults[0].line >= 2


def test_keys_may_hold_slashes_dots_and_look_like_other_things() -> None:
    one = node('kubernetes.io/x: 1\n1: 1\ntrue: 1\n~: 1\n"": 1\n')
    assert [name for name, _ in one.mapping()] == ["kubernetes.io/x", "1", "true", "~", ""]
    assert noted(one) == []


@pytest.mark.parametrize("written", ["{}", "[]", "[b]", "1", "b", "", "~"])
def test_a_mapping_that_is_empty_or_none_is_a_fault(written: str) -> None:
    one = value(written)
    assert one.mapping() == []
    assert [(fault.field, fault.allowed) for fault in one.reader.faults] == [("a", "a mapping that is not empty")]


def test_unknown_and_missing_fields_are_all_told_each_at_its_place() -> None:
    one = node("a:\n  b: 1\n  z: 1\n  y: 2\n")
    one.fields(required=("a",))["a"].fields(required=("b", "c"), optional=("d",))
    told = {(fault.line, fault.field, fault.found, fault.allowed) for fault in one.reader.faults}
    assert told == {
        (3, "a.z", "\"an unknown field 'z'\"", "the fields b, c, d"),
        (4, "a.y", "\"an unknown field 'y'\"", "the fields b, c, d"),
        (2, "a", "'no c'", "a field 'c'"),
    }


# Lists


def test_a_value_that_comes_twice_in_a_list_is_a_fault_at_its_index() -> None:
    one = value('[x, "1", 1, "x", 1]')
    assert [entry.field for entry in one.sequence()] == ["a[0]", "a[1]", "a[2]", "a[3]", "a[4]"]
    assert noted(one) == [(1, "a[3]", "'x'"), (1, "a[4]", "'1'")]


@pytest.mark.parametrize("written", ["[]", "{b: 1}", "x", "", "1"])
def test_a_list_that_is_empty_or_none_is_a_fault(written: str) -> None:
    one = value(written)
    assert one.sequence() == []
    assert [(fault.field, fault.allowed) for fault in one.reader.faults] == [("a", "a list that is not empty")]


def test_a_list_over_lines_has_each_value_at_its_own_line() -> None:
    one = value("\n  - x\n\n  - [y]\n  - 1\n")
    assert [entry.string() for entry in one.sequence()] == ["x", None, None]
    assert noted(one) == [(4, "a[1]", "'a list'"), (5, "a[2]", "'a number (1)'")]


# Values

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
    "null": "nothing (null)",
    "~": "nothing (~)",
    "": "nothing",
    "''": "text",
    "=": "a sign of YAML's (=)",
    "{b: 1}": "a mapping",
    "[b]": "a list",
}


@pytest.mark.parametrize("written", NOT_TEXT)
def test_what_yaml_takes_for_something_else_is_no_text(written: str) -> None:
    one = value(written)
    assert one.string() is None
    assert one.reader.faults == [Fault("k.yaml", 1, "a", repr(NOT_TEXT[written]), TEXT)]


@pytest.mark.parametrize("written", sorted(NOT_TEXT.keys() - {"", "''", "{b: 1}", "[b]"}))
def test_anything_is_text_in_quotes_and_stays_as_it_was_written(written: str) -> None:
    one = value(f'"{written}"')
    assert (one.string(), one.claim_value(), noted(one)) == (written, written, [])


@pytest.mark.parametrize("written", ["0o7", "1e3", "--1", "1-", "٣", "y", "n", "nan", "1h", "x", "!", "é"])
def test_what_is_text_to_yaml_is_text_as_it_was_written(written: str) -> None:
    quoted = f'"{written}"' if written == "!" else written
    assert value(quoted).claim_value() == written


@pytest.mark.parametrize(("written", "meant"), [("true", True), ("false", False)])
def test_true_and_false_are_booleans(written: str, meant: bool) -> None:  # noqa: FBT001  a parameter of the table
    assert value(written).boolean() is meant
    assert value(written).claim_value() is meant


@pytest.mark.parametrize("written", ["yes", "no", "on", "off", "True", "FALSE", '"true"', "1", "0", "~", "", "[true]"])
def test_nothing_else_is_a_boolean(written: str) -> None:
    one = value(written)
    assert one.boolean() is None
    assert [(fault.line, fault.field, fault.allowed) for fault in one.reader.faults] == [(1, "a", "true or false")]


@pytest.mark.parametrize("number", [0, 1, -1, 10, 1234567890, 10**15 - 1, 1 - 10**15])
def test_a_plain_whole_number_is_a_claims_value(number: int) -> None:
    found = value(str(number)).claim_value()
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
            "2026-01-01",
            "null",
            "~",
            "yes",
            "On",
            "=",
            "[1]",
        ],
        "",
        "{b: 1}",
        "9" * 16,
        "9" * 5_000,
    ],
    ids=lambda written: written[:20],
)
def test_a_claims_value_that_could_be_read_in_two_ways_is_a_fault(written: str) -> None:
    one = value(written)
    assert one.claim_value() is None
    assert [(fault.line, fault.field) for fault in one.reader.faults] == [(1, "a")]


def test_a_choice_is_one_of_its_names_exactly() -> None:
    assert value("openai").choice(("openai", "generic")) == "openai"
    one = value("OpenAI")
    assert one.choice(("openai", "generic")) is None
    assert one.reader.faults == [Fault("k.yaml", 1, "a", "'OpenAI'", "one of openai, generic")]


def test_what_a_fault_quotes_is_cut_and_cannot_break_its_line() -> None:
    one = value('"' + "x\\n" * 500 + '"')
    one.choice(("openai",))
    told = str(one.reader.faults[0])
    assert len(told) < 300
    assert "\n" not in told


# All of it

FAULTY = """\
keys:
  openai: {provider: opnai}
  openai: {provider: openai}
issuers:
  github: {preset: github-actions, audience: 1, single_use: yes}
  own: {audience: keybroker}
grants:
  "a b":
    key: gemini
    to: {issuer: github, claims: {ref: 010}}
    scope: [GET/v1]
    ttl: 5
    quota: {tokens: 1_0/hour, calls: [10/week]}
    models: []
  second:
    quota: {tokens: 1/hour}
"""


def test_every_fault_of_a_file_is_told_in_one_run_once_in_the_order_of_its_lines() -> None:
    with pytest.raises(PolicyInvalid) as caught:
        policy.parse(FAULTY)
    told = [(fault.line, fault.field) for fault in caught.value.faults]
    assert told == sorted(told)
    assert len(set(caught.value.faults)) == len(caught.value.faults)
    assert {
        (2, "keys.openai.provider"),
        (3, "keys.openai"),
        (5, "issuers.github.audience"),
        (5, "issuers.github.single_use"),
        (6, "issuers.own"),
        (9, "grants.a b.key"),
        (10, "grants.a b.to.claims.ref"),
        (11, "grants.a b.scope[0]"),
        (12, "grants.a b.ttl"),
        (13, "grants.a b.quota.tokens"),
        (13, "grants.a b.quota.calls[0]"),
        (16, "grants.second"),
        (16, "grants.second.quota"),
    } <= set(told)
    assert str(caught.value).splitlines()[0].startswith("keybroker.yaml:2: keys.openai.provider: found 'opnai', ")


@pytest.mark.parametrize("missing", ["keys", "issuers", "grants"])
def test_a_file_without_one_of_its_three_parts_says_which(missing: str) -> None:
    parts = {"keys": "{openai: {provider: openai}}", "issuers": "{github: {preset: github-actions, audience: x}}"}
    parts["grants"] = "{a: {key: openai, to: {issuer: github, claims: {repository_id: '1'}}, scope: ['GET:/v1'], "
    parts["grants"] += "quota: {tokens: 1/day, calls: 1/day}}}"
    with pytest.raises(PolicyInvalid) as caught:
        policy.parse("\n".join(f"{name}: {text}" for name, text in parts.items() if name != missing))
    assert Fault("keybroker.yaml", 1, "", f"'no {missing}'", f"a field {missing!r}") in caught.value.faults


def test_a_fault_in_json_has_what_the_line_has() -> None:
    fault = Fault("k.yaml", 3, "a.b", "'x'", "y")
    assert str(fault) == "k.yaml:3: a.b: found 'x', allowed: y"
    assert fault.to_json() == {"file": "k.yaml", "line": 3, "field": "a.b", "found": "'x'", "allowed": "y"}
