"""JSON that every parser reads alike, or an error that says which rule was broken (RFC 8259, RFC 7493)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NoReturn, TypeVar

_Value = TypeVar("_Value")

SENT_TWICE = "a parameter was sent twice"


class Rule(Enum):
    """The rules of strict JSON. The value of each says what is wrong where it is broken."""

    UTF8 = "the encoding is not UTF-8"
    SYNTAX = "malformed JSON"
    OBJECT = "not an object"
    NAMES = SENT_TWICE
    NUMBERS = "a number is not finite"
    DIGITS = "a number is too long"
    STACK = "nested too deeply"
    DEPTH = "more levels than allowed"
    COUNT = "more objects, lists, members, strings or values than allowed"
    UNICODE = "half of a surrogate pair, which parsers drop, replace or keep"


MOST: Mapping[bytes, int] = {b"{[": 10_000, b":": 50_000, b'"': 200_000, b",": 250_000}
"""How many of these bytes may stand outside of strings: objects and lists, members, twice the strings, and values.

A MiB of `{},` takes a second to read, and a MiB of a conversation has a thousand objects.
"""

MOST_LEVELS = 500
"""How many levels any document may have. Pythons differ in what their parsers' stacks bear: some 900 to all of MOST."""


class JsonError(ValueError):
    """JSON that breaks a rule. Its text says what is wrong, and where that is known; it quotes no value."""

    def __init__(self, rule: Rule, detail: str = "") -> None:
        super().__init__(detail or rule.value)
        self.rule = rule


class RepeatedNameError(ValueError):
    """A name was sent more than once, so that two readers could take two different values for it."""

    def __init__(self) -> None:
        super().__init__(SENT_TWICE)


def unique(pairs: Sequence[tuple[str, _Value]]) -> dict[str, _Value]:
    """Return a form's parameters or an object's members by name (RFC 6749 section 3.2); raises RepeatedNameError."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RepeatedNameError
    return found


def parse(raw: bytes) -> object:
    """Return a JSON document; raises JsonError.

    Names occur once and are Unicode; NaN, Infinity and a byte order mark are not JSON. Values may hold half of a
    surrogate pair, and a number that is too large becomes infinite: see `parse_storable`.
    """
    return _parse(raw, _DECODER)


def parse_object(raw: bytes) -> dict[str, object]:
    """Return a JSON object; raises JsonError. Same rules as `parse`."""
    return _object(parse(raw))


def parse_storable(raw: bytes, depth: int) -> dict[str, object]:
    """Return a JSON object that can be stored and written again as it is; raises JsonError.

    Besides the rules of `parse`: at most `depth` levels, finite numbers, and Unicode in all of its text.
    """
    found = _object(_parse(raw, _FINITE_DECODER))
    if _is_deeper(found, depth):
        raise JsonError(Rule.DEPTH)
    if rb"\u" in raw:  # nothing else can spell half of a pair: the encoding is UTF-8
        _check_unicode(json.dumps(found, ensure_ascii=False))
    return found


def _parse(raw: bytes, decoder: json.JSONDecoder) -> object:
    _check_counts(raw)
    try:
        found: object = decoder.decode(raw.decode("utf-8"))
    except JsonError:
        raise
    except RepeatedNameError:
        raise JsonError(Rule.NAMES) from None
    except UnicodeDecodeError:
        raise JsonError(Rule.UTF8) from None
    except json.JSONDecodeError as error:
        raise JsonError(Rule.SYNTAX, f"{error.msg}, line {error.lineno}, column {error.colno}") from None
    except ValueError:  # Python's limit of digits
        raise JsonError(Rule.DIGITS) from None
    except RecursionError:
        raise JsonError(Rule.STACK) from None
    if _opened(raw) > MOST_LEVELS and _is_deeper(found, MOST_LEVELS):
        raise JsonError(Rule.STACK)
    return found


def _opened(raw: bytes) -> int:
    return raw.count(b"{") + raw.count(b"[")


def _check_counts(raw: bytes) -> None:
    """Raise JsonError for more of something than MOST. It counts bytes, in 5 to 30 ms for a MiB."""
    # SECURITY: nothing is read that takes long to read (test_costly_json_is_not_read).
    if not _is_over(raw):
        return  # even with what is in its strings
    # Where a backslash stands outside of a string, this is not JSON, and whatever is counted.
    texts_and_rest = raw.replace(rb"\\", b"").replace(rb"\"", b"")
    if texts_and_rest.count(b'"') > MOST[b'"'] or _is_over(b"".join(texts_and_rest.split(b'"')[::2])):
        raise JsonError(Rule.COUNT)


def _is_over(raw: bytes) -> bool:
    return any(sum(raw.count(byte) for byte in kind) > most for kind, most in MOST.items())


def _object(found: object) -> dict[str, object]:
    if not isinstance(found, dict):
        raise JsonError(Rule.OBJECT)
    return found


def _is_deeper(value: object, depth: int) -> bool:
    """Whether a value has more levels than `depth`. Level by level, so that no depth is too much for the stack."""
    level = [value]
    for _ in range(depth):
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list))]
        level = [one for members in inner for one in members]
        if not level:
            return False
    return True


def _unique_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # SECURITY: of two members of one name some parsers take the first and some the last
    # (test_json_has_one_model_for_every_parser).
    found = unique(pairs)
    _check_unicode("".join(found))
    return found


def _check_unicode(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise JsonError(Rule.UNICODE) from None


def _no_constant(name: str) -> NoReturn:
    raise JsonError(Rule.NUMBERS, f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise JsonError(Rule.NUMBERS)  # 1e999 would be Infinity
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_names, parse_constant=_no_constant)
_FINITE_DECODER = json.JSONDecoder(object_pairs_hook=_unique_names, parse_constant=_no_constant, parse_float=_finite)
