"""Reads multipart forms (RFC 7578) that every parser reads alike; others are refused, for the provider's is not known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.models.errors import BodyNotForm, BodyTooMany

_ANY_CASE = re.ASCII | re.IGNORECASE
_MEDIA_TYPE = re.compile(
    r'multipart/form-data[ \t]*;[ \t]*boundary=("?)(?P<boundary>[0-9a-z_.+-]{0,69}[0-9a-z])\1', _ANY_CASE
)
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x1f\x7f]*)")
# The name comes first, in quotes, in characters that are never escaped; `filename*` is refused.
_DISPOSITION = re.compile(
    r'form-data; ?name="(?P<name>[A-Za-z0-9_.\[\]-]+)"(?:; ?filename="(?P<filename>[^";\\]*)")?', _ANY_CASE
)
_PLAIN_TEXT = re.compile(r"text/plain(?:; ?charset=\"?(?:utf-8|us-ascii)\"?)?", _ANY_CASE)
_AS_IT_IS = ("7bit", "8bit", "binary")

PARTS = 200
"""How many parts a form may have."""


@dataclass(frozen=True, slots=True)
class Field:
    """One part of a form."""

    name: str
    value: bytes
    is_file: bool
    """Whether it has a filename."""
    is_text: bool
    """Whether its Content-Type, if it has one, is plain text."""


def boundary_of(content_type: str) -> str | None:
    """Return the boundary of a form's content type; None if it is not a form's, or has another parameter."""
    found = _MEDIA_TYPE.fullmatch(content_type)
    return found["boundary"] if found else None


def read(content: bytes, boundary: str) -> tuple[Field, ...]:
    """Return the form's fields in order; raises BodyNotForm or BodyTooMany."""
    mark = b"--" + boundary.encode()
    if content.count(mark) > PARTS + 1:
        raise BodyTooMany("parts")
    before, *parts = (b"\r\n" + content).split(b"\r\n" + mark)
    # SECURITY: lenient parsers take a boundary wherever it stands, and skip what is before the first and after the
    # last (test_model_vectors).
    end = parts.pop() if parts else b""
    if before or end not in (b"--", b"--\r\n") or content.count(mark) != len(parts) + 1:
        raise BodyNotForm("its boundary must start it, end it, and occur only between its parts")
    return tuple(_field(part) for part in parts)


def _field(part: bytes) -> Field:
    head, empty_line, value = part.partition(b"\r\n\r\n")
    headers = _headers(head)
    disposition = _DISPOSITION.fullmatch(headers.get("content-disposition", ""))
    if not empty_line or not disposition or disposition["name"] == "_charset_":
        raise BodyNotForm(
            'each part must have one `Content-Disposition: form-data; name="..."`, and a filename in quotes'
        )
    media_type = headers.get("content-type", "text/plain")
    if media_type.lower().startswith(("multipart/", "message/")):
        raise BodyNotForm("a part is itself multipart")
    if headers.get("content-transfer-encoding", "binary").lower() not in _AS_IT_IS:
        raise BodyNotForm("a part has a transfer encoding")
    if headers.get("content-length", str(len(value))) != str(len(value)):
        raise BodyNotForm("a part's Content-Length is wrong")
    is_text = _PLAIN_TEXT.fullmatch(media_type) is not None
    return Field(disposition["name"], value, disposition["filename"] is not None, is_text)


_KNOWN = {"content-disposition", "content-type", "content-transfer-encoding", "content-length"}


def _headers(head: bytes) -> Mapping[str, str]:
    """Read a part's headers: each must be known, on one line, and there once."""
    try:
        start, *lines = head.decode("utf-8").split("\r\n")
    except UnicodeDecodeError:
        raise BodyNotForm("a part's headers are not UTF-8") from None
    matches = [_HEADER.fullmatch(line) for line in lines]
    found = {match[1].lower(): match[2] for match in matches if match}
    if start or len(found) != len(lines) or not found.keys() <= _KNOWN:
        raise BodyNotForm("a part has headers that are unknown, folded or there twice")
    return found
