"""Outlines of long bodies: what a reader of models finds in one is what it finds in the whole body, or it is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import Refusal
from chalicelib.models import outline, selection
from chalicelib.models.body import BEGINNING, LEFT_OUT, TOO_LONG, CallBody
from chalicelib.models.errors import BodyCut, BodyTooMany
from chalicelib.models.outline import LONGEST, FormOutline, JsonOutline
from tests.chalicelib.models.test_selection import ALLOWED, CHAT, VECTORS, body_of
from tests.refused import refused

LONG = "k" * (LONGEST * 20)
FORM = "multipart/form-data; boundary=b"
TRANSCRIPTIONS, EDITS = "POST:/v1/audio/transcriptions", "POST:/v1/images/edits"


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[first : first + size] for first in range(0, len(content), size))


def outlined(content: bytes, *types: str, size: int = 65_536, **more: Any) -> CallBody:  # noqa: ANN401  CallBody's fields
    """The body as it is shown when its outline is shown."""
    made = outline.of(types, more.get("content_encodings", ()))
    assert made is not None
    for piece in pieces(content, size):
        made.feed(piece)
    encoded = base64.b64encode(made.end()).decode()
    return CallBody(encoded, truncated=False, content_types=types, is_outline=True, fault=made.fault, **more)


def found(
    provider: str, scope: str, query: str, body: CallBody, allowed: tuple[str, ...] = ("*",)
) -> tuple[str, ...] | str:
    """The models that are found and allowed, or why there are none."""
    try:
        models = selection.models(provider, scope, query, body)
        selection.check(models, allowed)
    except Refusal as refusal:
        return refusal.reason
    return models


@pytest.mark.parametrize("size", [7, 65_536])
def test_an_outline_reads_as_the_body_does(size: int) -> None:
    """Of every known body, the outline names the same models, or is refused; what the body is refused for is refused."""
    read = 0
    for entry in VECTORS:
        whole = body_of(entry)
        if (
            "encoded" in entry
            or not whole.encoded
            or whole.truncated
            or not outline.of(whole.content_types, whole.content_encodings)
        ):
            continue
        content = base64.b64decode(whole.encoded)
        if len(content) > 50_000 and size < 100:
            continue
        call = entry.get("provider", "openai"), entry.get("scope", CHAT), entry.get("query", "")
        allowed = tuple(entry.get("allowed", ALLOWED))
        expected = found(*call, whole, allowed)
        shown = outlined(content, *whole.content_types, size=size, header_names=whole.header_names)
        got = found(*call, shown, allowed)
        # Where both refuse, an outline may see another fault first.
        assert got == expected or {type(got), type(expected)} == {str} or got == "body_too_many", entry
        read += 1
    assert read > 100


TEXTS = st.text(max_size=20) | st.text(alphabet='ab"\\\n\u20ac :{},', min_size=LONGEST, max_size=4 * LONGEST)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
)


@given(value=VALUES, size=st.integers(min_value=1, max_value=700), ascii_only=st.booleans())
def test_only_long_texts_are_left_out(value: object, size: int, ascii_only: bool) -> None:  # noqa: FBT001  hypothesis's
    """Of any JSON in any pieces all stays but long texts, and what stands for those says so."""
    made = JsonOutline()
    for piece in pieces(json.dumps({"value": value}, ensure_ascii=ascii_only).encode(), size):
        made.feed(piece)
    left = json.loads(made.end())
    assert made.fault == ""
    assert _is_outline_of(left, {"value": value})


def _is_outline_of(left: object, whole: object) -> bool:
    if isinstance(whole, dict) and isinstance(left, dict):
        return left.keys() == whole.keys() and all(_is_outline_of(left[name], whole[name]) for name in whole)
    if isinstance(whole, list) and isinstance(left, list):
        return len(left) == len(whole) and all(map(_is_outline_of, left, whole))
    return left == whole or (left == LEFT_OUT and isinstance(whole, str) and len(json.dumps(whole)) > LONGEST)


def test_a_model_behind_twenty_megabytes() -> None:
    """A model is found wherever it stands, and little of the rest is kept."""
    made = JsonOutline()
    made.feed(b'{"input": "')
    for _ in range(320):
        made.feed(b"k" * 65_536)
    made.feed(b'", "model": "gpt-5-mini"}')
    assert made.end() == rb'{"input": "\u0000(left out)", "model": "gpt-5-mini"}'


def test_a_second_model_is_found_behind_a_long_text() -> None:
    """What comes behind a long text counts, and twice is refused as ever."""
    twice = f'{{"model": "gpt-5-mini", "input": "{LONG}", "model": "gpt-5"}}'.encode()
    assert found("openai", CHAT, "", outlined(twice, "application/json")) == "body_twice"


def test_long_names_are_refused() -> None:
    """A member's name is read whole, so one that is left out is refused, whatever white space is behind it."""
    for between in ("", " ", "\n\t"):
        content = f'{{"model": "gpt-5-mini", "{LONG}model"{between}: "gpt-5"}}'.encode()
        for size in (1, 65_536):
            assert found("openai", CHAT, "", outlined(content, "application/json", size=size)) == "body_no_json"


@pytest.mark.parametrize(
    "text", [b"\\x41", b"\\u12g4", b"\x01", b"\n", b"\xff", b"\\", b"no end"], ids=lambda one: one.hex()
)
def test_malformed_strings_have_no_outline(text: bytes) -> None:
    """What a strict parser refuses in a long text is refused, though the text is left out."""
    content = b'{"model": "gpt-5-mini", "input": "' + LONG.encode() + text + (b'"}' if text != b"no end" else b"")
    for size in (1, 65_536):
        assert found("openai", CHAT, "", outlined(content, "application/json", size=size)) == "body_no_json"


def test_what_matters_is_not_left_out() -> None:
    """A value by which the provider would run another model is refused rather than left out."""
    padded = json.dumps({"model": "gpt-image-1", "prompt": "a", "output_format": "svg" + " " * LONGEST * 20}).encode()
    assert (
        type(refused(lambda: selection.models("openai", EDITS, "", outlined(padded, "application/json"))))
        is BodyTooMany
    )
    field = "svg" + " " * BEGINNING
    form = _form(("model", "", "gpt-image-1"), ("output_format", "", field), ("image", "a.png", "k"))
    assert found("openai", EDITS, "", outlined(form, FORM)) == "body_too_many"


def test_long_files_are_left_out_of_forms() -> None:
    """A file may be of any size, before `model` or behind it."""
    parts = ("file", "a.wav", "k" * 3 * BEGINNING), ("model", "", "whisper-1")
    for form in (_form(*parts), _form(*reversed(parts))):
        for size in (1_000, 65_536):
            body = outlined(form, FORM, size=size)
            assert found("openai", TRANSCRIPTIONS, "", body) == ("whisper-1",)
            assert len(body.for_models()) < 2 * BEGINNING


@pytest.mark.parametrize("inner", ["--b", "\r\n--b", "\r\n--b--", "--b--\r\n", "-\r\n--b\r\n", "\n--b\r\n"])
def test_a_boundary_within_a_file_is_seen(inner: str) -> None:
    """What could be a boundary in a long file is read as it would be in the whole form."""
    form = _form(("file", "a.wav", "k" * 2 * BEGINNING + inner + "k" * 10), ("model", "", "whisper-1"))
    whole = CallBody(base64.b64encode(form).decode(), truncated=False, content_types=(FORM,))
    for size in (1_000, 65_536):
        assert found("openai", TRANSCRIPTIONS, "", outlined(form, FORM, size=size)) == "body_no_form"
    assert found("openai", TRANSCRIPTIONS, "", whole) == "body_no_form"


def test_too_much_stays() -> None:
    """A body whose outline is long as well is refused, and what was made of it is let go."""
    made = JsonOutline()
    for _ in range(100):
        made.feed(b'["a","b"],' * 6_000)
    assert (made.end(), made.fault) == (b"", TOO_LONG)
    assert type(refused(CallBody("", truncated=False, is_outline=True, fault=TOO_LONG).for_models)) is BodyTooMany


def test_an_outline_is_for_models_alone() -> None:
    """Whoever asks for the whole body is told that it is cut."""
    assert type(refused(outlined(b"{}", "application/json").content)) is BodyCut


@pytest.mark.parametrize(
    ("types", "encodings"), [((), ()), (("application/json",), ("gzip",)), (("text/plain",), ()), (("a/json", "b"), ())]
)
def test_what_has_no_outline(types: tuple[str, ...], encodings: tuple[str, ...]) -> None:
    """What is refused for its headers is not read."""
    assert outline.of(types, encodings) is None


def _form(*parts: tuple[str, str, str]) -> bytes:
    """A form of parts, each with its name, its filename ("" for none) and its value."""
    made = FormOutline("b")  # the same boundary
    assert made.fault == ""
    lines = []
    for name, filename, value in parts:
        file = f'; filename="{filename}"' if filename else ""
        lines += ["--b", f'Content-Disposition: form-data; name="{name}"{file}', "", value]
    return "\r\n".join([*lines, "--b--", ""]).encode()
