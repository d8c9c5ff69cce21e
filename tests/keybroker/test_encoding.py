from __future__ import annotations

import pytest

from keybroker.encoding import decode


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_mark_says_the_encoding(encoding: str) -> None:
    """A text is read as its byte order mark says, and as UTF-8 without one; the mark is not part of it."""
    assert decode("käse\n".encode(encoding)) == "käse\n"


@pytest.mark.parametrize("content", [b"\xff", b"\xff\xfea", b"\xff\xfe\x00\xd8", b"\xef\xbb\xbf\xff", b"\xc3"])
def test_what_is_no_text_is_refused(content: bytes) -> None:
    """What its mark does not fit is an error, and never read with signs for what is missing."""
    with pytest.raises(UnicodeDecodeError):
        decode(content)
