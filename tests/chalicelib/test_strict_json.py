"""Strict JSON: one reading or an error, and the error says which rule was broken."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.strict_json import (
    MOST_LEVELS,
    JsonError,
    RepeatedNameError,
    Rule,
    parse,
    parse_object,
    parse_storable,
    unique,
)

LEVELS = 16


def broken(raw: bytes) -> Rule:
    """Return the rule that a document breaks for every caller."""
    with pytest.raises(JsonError) as caught:
        parse(raw)
    with pytest.raises(JsonError) as bounded:
        parse_storable(raw, LEVELS)
    assert caught.value.rule is bounded.value.rule
    return caught.value.rule


def not_storable(raw: bytes) -> Rule:
    """Return the rule that a document breaks only for callers who store it."""
    parse(raw)
    with pytest.raises(JsonError) as caught:
        parse_storable(raw, LEVELS)
    return caught.value.rule


@pytest.mark.parametrize("pairs", ['"a":1,"a":1', '"a":1,"\\u0061":2', '"b":{"a":1,"a":2}', '"b":[{"a":1,"a":2}]'])
def test_repeated_names_are_refused(pairs: str) -> None:
    """A name that occurs twice in one object is refused at any depth, however it is escaped."""
    assert broken(b"{" + pairs.encode() + b"}") is Rule.NAMES


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_constants_are_refused(number: str) -> None:
    """NaN and Infinity are Python's, not JSON's, and the error names the constant."""
    assert broken(f'{{"n":[{number}]}}'.encode()) is Rule.NUMBERS
    with pytest.raises(JsonError, match=f"^{number} is not a JSON number$"):
        parse(number.encode())


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        (b"", Rule.SYNTAX),
        (b"{", Rule.SYNTAX),
        (b"{} {}", Rule.SYNTAX),
        (b"\xef\xbb\xbf{}", Rule.SYNTAX),
        (b"\xff", Rule.UTF8),
        (b'"\xed\xa0\x80"', Rule.UTF8),
        ("{}".encode("utf-16"), Rule.UTF8),
        (b"9" * 5_000, Rule.DIGITS),
        (b"[" * 9_000 + b"]" * 9_000, Rule.STACK),
        (b"[" * (MOST_LEVELS + 1) + b"]" * (MOST_LEVELS + 1), Rule.STACK),
        (b"[" * 100_000, Rule.COUNT),
        (b'{"\\ud800": 1}', Rule.UNICODE),
        (b'[{"a": {"b\\udfff": 1}}]', Rule.UNICODE),
    ],
)
def test_what_any_caller_refuses(raw: bytes, rule: Rule) -> None:
    """Each rule is told from the others."""
    assert broken(raw) is rule


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        (b"[]", Rule.OBJECT),
        (b'"{}"', Rule.OBJECT),
        (b"null", Rule.OBJECT),
        (b'{"n": 1e999}', Rule.NUMBERS),
        (b'{"n": [-1e999]}', Rule.NUMBERS),
        (b'{"a": "\\ud83d"}', Rule.UNICODE),
        (b'{"a": ["\\ude00\\ud83d"]}', Rule.UNICODE),
        (b'{"a":' + b"[" * LEVELS + b"]" * LEVELS + b"}", Rule.DEPTH),
    ],
)
def test_what_only_storing_refuses(raw: bytes, rule: Rule) -> None:
    """What could not be written again, or not by state, is refused where it will be stored."""
    assert not_storable(raw) is rule


def test_objects_only() -> None:
    """`parse_object` takes nothing but an object."""
    assert parse_object(b'{"a": 1}') == {"a": 1}
    with pytest.raises(JsonError) as caught:
        parse_object(b"[]")
    assert caught.value.rule is Rule.OBJECT


def test_depth_limit_itself_is_allowed() -> None:
    """As many levels as the limit says are read, the object included."""
    raw = b'{"a":' + b"[" * (LEVELS - 1) + b"]" * (LEVELS - 1) + b"}"
    assert parse_storable(raw, LEVELS) == json.loads(raw)


def test_as_many_levels_as_allowed_are_read() -> None:
    """Every Python reads as many levels as any caller may send, and what stands in many objects need not be deep."""
    deep = b"[" * MOST_LEVELS + b"]" * MOST_LEVELS
    assert parse(deep) == json.loads(deep)
    assert parse(b"[" + b"{}," * MOST_LEVELS + b"{}]") == [{}] * (MOST_LEVELS + 1)


def test_whole_surrogate_pairs_are_text() -> None:
    """Two halves that belong together are one character."""
    assert parse_storable(b'{"\\ud83d\\ude00":"\\ud83d\\ude00"}', LEVELS) == {"\U0001f600": "\U0001f600"}


def test_syntax_errors_say_where() -> None:
    """The detail of a syntax error has line and column and nothing of the document."""
    with pytest.raises(JsonError, match=r"^Expecting value, line 2, column 6$"):
        parse(b'{\n"a": secret}')


@given(st.binary(max_size=60) | st.text('{}[]":,\\ud8019naNI-e. ', max_size=40).map(str.encode))
@example(b'{"a":1,"\\u0061":2}')
@example(b"1e400")
def test_any_bytes_are_read_as_python_reads_them_or_refused(raw: bytes) -> None:
    """Nothing but JsonError is raised, and what is read is what Python's own reader reads."""
    try:
        found = parse(raw)
    except JsonError:
        return
    expected = json.loads(raw.decode())
    assert found == expected
    assert not isinstance(expected, float) or not math.isnan(expected)


def test_parameters_occur_once() -> None:
    """Of two parameters of one name none is taken, even if they have the same value."""
    assert unique([("a", 1), ("b", 1)]) == {"a": 1, "b": 1}
    with pytest.raises(RepeatedNameError):
        unique([("a", 1), ("b", 2), ("a", 1)])


COSTLY = {
    "objects": b"[" + b"{}," * 10_000 + b"{}]",
    "lists": b"[" + b"[]," * 10_000 + b"[]]",
    "members": b"[" + b'{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6},' * 8_400 + b"1]",
    "strings": b"[" + b'"",' * 100_000 + b'""]',
    "values": b"[" + b"1," * 250_001 + b"1]",
}


@pytest.mark.parametrize("name", list(COSTLY))
def test_costly_json_is_not_read(name: str) -> None:
    """More objects, lists, members, strings or values than MOST are refused before any is read."""
    assert broken(COSTLY[name]) is Rule.COUNT


def test_marks_in_strings_do_not_count() -> None:
    """What stands in a string, also behind an escaped quote or after an escaped backslash, is not counted."""
    text = '{[:," \\' * 60_000
    assert parse(json.dumps([text, "\\", text]).encode()) == [text, "\\", text]
