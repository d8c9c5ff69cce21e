"""The text in a file, in the encodings that editors and shells write by themselves."""

from __future__ import annotations

import codecs

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),  # PowerShell's `>`
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


def decode(content: bytes) -> str:
    """Return the text: UTF-8, or what a byte order mark at its beginning says; the mark is left out.

    Raises UnicodeDecodeError, whose text holds no more than one byte of the content.
    """
    return content.decode(next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "utf-8"))
