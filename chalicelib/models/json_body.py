"""A JSON object that every parser reads alike, or a refusal: which parser a provider has is not known."""

from __future__ import annotations

import json
from typing import NoReturn

from chalicelib.models.errors import BodyNotJson, BodyTwice

Json = dict[str, object]


def read(content: bytes) -> Json:
    """Return the object; raises Refusal `body_no_json` or `body_twice`.

    Refused besides what is no JSON: members that come twice in one object, however they are escaped; NaN and
    Infinity; anything before the first brace, a byte order mark included; another encoding than UTF-8; half a
    surrogate pair, which parsers drop, replace or keep.
    """
    if not content.startswith(b"{"):
        raise BodyNotJson("it must be an object and begin with `{`")
    try:
        text = content.decode("utf-8")
        found: Json = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise BodyNotJson("it must be UTF-8") from None
    except json.JSONDecodeError as error:
        raise BodyNotJson(f"{error.msg}, line {error.lineno}, column {error.colno}") from None
    except ValueError:  # a number of thousands of digits
        raise BodyNotJson("a number is too long") from None
    except RecursionError:
        raise BodyNotJson("it is nested too deeply") from None
    return found


def _once(pairs: list[tuple[str, object]]) -> Json:
    found = dict(pairs)
    # SECURITY: of two members of one name some parsers take the first and some the last
    # (test_what_is_admitted_has_one_model_whoever_reads_it).
    if len(found) != len(pairs):
        raise BodyTwice
    try:
        "".join(found).encode()
    except UnicodeEncodeError:
        raise BodyNotJson("a member's name has half a surrogate pair") from None
    return found


def _no_constant(name: str) -> NoReturn:
    raise BodyNotJson(f"{name} is no JSON")
