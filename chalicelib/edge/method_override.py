"""A method that takes the place of the request's: in a parameter, in a form's field, or in a member of a JSON body.

Rails, Laravel and Symfony take `_method` in a POST for the method, Google's gateways `$httpMethod`, ASP.NET the name of a
header. Names are looked for as they may be encoded, anywhere a parser may find one, and nothing is parsed: that a parser
reads them there cannot be ruled out, so a call that has one is refused.
"""

from __future__ import annotations

import re

from chalicelib.edge.errors import MethodCut, MethodOverride, MethodUnclear
from chalicelib.models.body import CallBody
from chalicelib.models.errors import BodyCut, BodyNotShown
from chalicelib.providers.entry import FORM, JSON

STRONGER = ("GET", "PUT", "PATCH", "DELETE")
"""Methods that a POST can be taken for. HEAD and OPTIONS show nothing that GET does not."""


def _encoded(text: str, escape: str) -> str:
    """Return a pattern for a text whose characters may be escaped, each for itself. escape: of a code point."""
    return "".join(f"(?:{re.escape(one)}|{'|'.join(escape % ord(c) for c in {one, one.upper()})})" for one in text)


def _percent(text: str) -> str:
    return _encoded(text, "%%%02x")


# PHP takes `.`, `[` and a space for `_`, and drops spaces before a name; Rack drops brackets. Both read what follows `[`
# as an index, and C ends a name at NUL.
_SKIPPED = r"(?:[\s+\[\]]|%(?:20|09|0[a-d]|5b|5d))*"
_MARK = r"(?:[_.\[\s+]|%(?:5f|2e|5b|20))"
_DASH = r"(?:[-_.]|%(?:2d|5f|2e))"
_METHOD = _percent("method")
_OVERRIDE = f"{_METHOD}{_DASH}{_percent('override')}"
_NAMES = "|".join(
    [
        f"{_MARK}{_METHOD}",
        f"{_percent('$')}{_percent('http')}(?:{_METHOD}|{_percent('headers')})",
        f"{_percent('x')}{_DASH}(?:{_percent('http')}{_DASH}{_METHOD}(?:{_DASH}{_percent('override')})?|{_OVERRIDE})",
    ]
)
_END = r"(?=[=&;\[\]+\s\x00\"']|%(?:00|09|0[a-d]|20|5b|5d)|\Z)"
_ANY_CASE = re.IGNORECASE | re.ASCII
# Texts, which `re` compiles where one is first needed, and keeps: a call without a query or a form needs none, and
# compiling them all would be a sixth of what a cold start of ours takes.
_PAIRS = rf"(?:\A|[&;]){_SKIPPED}(?:{_NAMES}){_END}"

# SECURITY: a megabyte of anything is read in linear time: no two repetitions that follow each other take the same
# characters (test_a_megabyte_is_read_at_once).
_PART_HEADER = r"^[ \t]*content-(?:disposition|id)[ \t]*:(.*)$"
_FIELD = rf"(?:\bname[ \t]*=|\A)(?:[\s+\[\]\"'<]|%(?:20|09|0[a-d]|5b|5d))*(?:{_NAMES})(?:{_END}|>)"
_REWRITTEN = r"\bname\*"
_IS_NAME = r"\bname[ \t]*="

_MEMBER = '"' + _encoded("_method", r"\\u%04x") + r'"\s*:'
_CHARSET = r"charset[ \t]*=[ \t]*\"?([^\s\";]*)"
_CHARSETS = ("utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin1", "windows-1252")
"""In which ASCII is written as itself."""


def is_in_pairs(text: str) -> bool:
    """Whether one of `name=value&…`, a query or a form, names another method, or sets a header."""
    return re.search(_PAIRS, text, _ANY_CASE) is not None


def check_body(body: CallBody, kinds: tuple[str, ...]) -> None:
    """Raise MethodOverride if the body of a POST may name another method, where the API reads it in these kinds of body.

    Raises MethodUnclear (415) or MethodCut (413) if that cannot be told, BodyNotShown (503) if nothing was shown.
    """
    kind, is_multipart = _kind(body)
    if kind not in kinds or body.is_empty:
        return
    if any(one.lower() not in ("", "identity") for one in body.content_encodings):
        raise MethodUnclear
    text = _content(body).decode("latin-1")
    if kind == JSON:
        found = "\x00" in text or re.search(_MEMBER, text, _ANY_CASE) is not None  # NUL: in UTF-16
    else:
        found = is_in_parts(text) if is_multipart else is_in_pairs(text)
    if found:
        raise MethodOverride("the body")


def is_in_parts(text: str) -> bool:
    """Whether the header of a part of a multipart body may name a field for another method."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    unfolded = lines.replace("\n ", " ").replace("\n\t", " ")
    headers = (header.replace("\\", "") for header in re.findall(_PART_HEADER, unfolded, _ANY_CASE | re.MULTILINE))
    return any(re.search(_FIELD, header, _ANY_CASE) or _is_rewritten(header) for header in headers)


def _is_rewritten(header: str) -> bool:
    """Whether a name is in the forms of RFC 2231 or 2047, which write any; forms have neither (RFC 7578 section 4.2)."""
    if re.search(_REWRITTEN, header, _ANY_CASE):
        return True
    return "=?" in header and any(
        re.search(_IS_NAME, before, _ANY_CASE) for before, found, _ in _around_words(header) if found
    )


def _around_words(header: str) -> list[tuple[str, str, str]]:
    return [one.partition("=?") for one in header.split(";")]


def _kind(body: CallBody) -> tuple[str, bool]:
    """Return the kind of body, "" for one that no API reads a method in, and whether it is multipart; raises MethodUnclear."""
    if len(body.content_types) > 1:
        raise MethodUnclear
    media_type = body.content_types[0].lower() if body.content_types else ""
    essence = media_type.partition(";")[0].strip()
    is_multipart = "multipart/" in essence
    kind = JSON if "json" in essence else ""
    if is_multipart or "form-urlencoded" in essence or not essence:  # Rack takes a POST without a type for a form
        kind = FORM
    if kind and ("," in essence or any(one not in _CHARSETS for one in re.findall(_CHARSET, media_type, _ANY_CASE))):
        raise MethodUnclear
    return kind, is_multipart


def _content(body: CallBody) -> bytes:
    try:
        return body.content()
    except BodyCut:
        # SECURITY: another method could hide behind the cut (test_method_behind_the_cut).
        raise MethodCut from None
    except BodyNotShown:
        raise BodyNotShown("the grant does not open every method here, and this edge was not shown the body") from None
