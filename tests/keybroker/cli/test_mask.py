from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keybroker.cli.mask import MASK, Mask

SECRET = b"eyJhbGciOi.eyJpc3Mi.c2ln"


def masked(chunks: list[bytes], *secrets: bytes) -> bytes:
    mask = Mask(secrets)
    return b"".join(map(mask.feed, chunks)) + mask.end()


@given(st.lists(st.sampled_from([SECRET, b"e", b"eyJ", b"\n", b"text ", b"\xff", b"ey"])), st.data())
def test_a_secret_is_masked_across_reads(parts: list[bytes], data: st.DataObject) -> None:
    """A secret is masked wherever the stream is cut."""
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    chunks = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert masked(chunks, SECRET) == whole.replace(SECRET, MASK)


@given(st.binary(max_size=200), st.integers(1, 7))
def test_other_text_is_unchanged(text: bytes, size: int) -> None:
    """Text without secrets passes unchanged."""
    assert masked([text[at : at + size] for at in range(0, len(text), size)], SECRET) == text.replace(SECRET, MASK)


def test_only_a_possible_secret_is_held_back() -> None:
    """Only what may be the start of a secret is held back."""
    mask = Mask([SECRET])
    assert mask.feed(b"Password: ") == b"Password: "
    assert mask.feed(b"and eyJ") == b"and "
    assert mask.feed(b"oh") == b"eyJoh"
    assert mask.feed(SECRET[:-1]) == b""
    assert mask.end() == SECRET[:-1]
    assert mask.end() == b""


def test_the_longest_secret_is_masked_first() -> None:
    """Of several secrets the longest is masked first."""
    assert masked([b"one two twofold"], b"two", b"twofold", b"one") == b"*** *** ***"


def test_an_empty_secret_masks_nothing() -> None:
    """No secret, or an empty one, masks nothing."""
    assert masked([b"a", b"b"]) == b"ab"
    assert masked([b"a", b"b"], b"") == b"ab"
