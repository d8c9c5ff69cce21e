"""A POST that asks for another method: in every spelling that some server takes for it."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.edge.method_override import check_body, is_in_pairs, is_in_parts
from chalicelib.errors import Refusal
from chalicelib.models.body import CallBody
from chalicelib.providers.entry import FORM, JSON
from tests.refused import refused

VECTORS: dict[str, dict[str, list[str]]] = json.loads(
    (Path(__file__).resolve().parents[2] / "vectors" / "method_overrides.json").read_text(encoding="utf-8")
)
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x"
PLAIN = "a=1"


def vectors(kind: str, outcome: str) -> list[str]:
    return VECTORS[kind][outcome]


def body(content: str, *content_types: str, **more: Any) -> CallBody:  # noqa: ANN401  CallBody's fields
    encoded = base64.b64encode(content.encode()).decode()
    return CallBody(encoded, **{"truncated": False, "content_types": content_types, **more})


def reason(found: CallBody, *kinds: str) -> str:
    return refused(lambda: check_body(found, kinds or (FORM, JSON))).reason


@pytest.mark.parametrize("pairs", vectors("pairs", "refused"))
def test_pairs(pairs: str) -> None:
    """A name of a query or form that some server takes for another method is found."""
    assert is_in_pairs(pairs)
    assert reason(body(pairs, URLENCODED)) == "method_override"


@pytest.mark.parametrize("pairs", vectors("pairs", "passed"))
def test_other_pairs(pairs: str) -> None:
    """Names that only resemble one go on."""
    assert not is_in_pairs(pairs)
    check_body(body(pairs, URLENCODED), (FORM, JSON))


@pytest.mark.parametrize("head", vectors("parts", "refused"))
def test_parts(head: str) -> None:
    """A part of a multipart body that some server takes for another method is found, wherever it stands."""
    for end in ("\r\n", "\n", "\r"):
        assert is_in_parts(f"--x{end}{head}{end}{end}DELETE{end}--x--")
    assert reason(body(f"--x\r\n{head}\r\n\r\nDELETE\r\n--x--", MULTIPART)) == "method_override"


@pytest.mark.parametrize("head", vectors("parts", "passed"))
def test_other_parts(head: str) -> None:
    """Parts that only resemble one go on."""
    check_body(body(f"--x\r\n{head}\r\n\r\n_method=DELETE\r\n--x--", MULTIPART), (FORM, JSON))


@pytest.mark.parametrize("content", vectors("json", "refused"))
def test_members(content: str) -> None:
    """A member of a JSON body that some server takes for another method is found."""
    assert reason(body(content, "application/vnd.api+json")) == "method_override"


@pytest.mark.parametrize("content", vectors("json", "passed"))
def test_other_members(content: str) -> None:
    """Members that only resemble one go on."""
    check_body(body(content, "application/json; charset=utf-8"), (FORM, JSON))


@given(st.text("_[].+ &;=metho%5fF", max_size=30))
def test_what_a_parser_reads_is_found(text: str) -> None:
    """A query in which a parser reads `_method`, with `&` or `;` between its pairs, is refused."""
    for separator in ("&", ";"):
        names = [name for name, _ in parse_qsl(text, keep_blank_values=True, separator=separator)]
        if "_method" in [name.strip(" []").lower() for name in names]:
            assert is_in_pairs(text)


@given(
    st.lists(
        st.sampled_from([str, str.upper, lambda one: f"%{ord(one):02x}", lambda one: f"%{ord(one):02X}"]),
        min_size=7,
        max_size=7,
    )
)
def test_every_encoding_is_found(spell: list[Any]) -> None:
    """Each letter of the name may be encoded or not, in either case."""
    assert is_in_pairs("a=1&" + "".join(one(letter) for one, letter in zip(spell, "_method", strict=True)) + "=x")


@pytest.mark.parametrize("content_type", [URLENCODED.upper(), f"{URLENCODED}; charset=UTF-8", "", "multipart/mixed"])
def test_types_of_forms(content_type: str) -> None:
    """A form is one in any case, with a charset, and without a type at all, as Rack reads it."""
    content = '_method=1&x\nContent-Disposition: form-data; name="_method"'
    assert reason(body(content, content_type)) == "method_override"
    assert reason(body(content)) == "method_override"


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", "image/png", "application/xml"])
def test_other_types(content_type: str) -> None:
    """A body of a type that no API reads a method in is not read."""
    check_body(body("_method=DELETE", content_type, truncated=True), (FORM, JSON))


def test_kinds() -> None:
    """Only the kinds of body are read in which the API may read a method."""
    check_body(body('{"_method": "DELETE"}', "application/json", truncated=True), (FORM,))
    assert reason(body("_method=DELETE", URLENCODED), FORM) == "method_override"


@pytest.mark.parametrize(
    ("types", "encodings"),
    [
        ((URLENCODED, "text/plain"), ()),
        ((f"text/plain, {URLENCODED}",), ()),
        ((f"{URLENCODED}; charset=ibm037",), ()),
        (('application/json;charset="utf-16"',), ()),
        ((URLENCODED,), ("gzip",)),
        (("application/json",), ("identity", "br")),
    ],
)
def test_unclear(types: tuple[str, ...], encodings: tuple[str, ...]) -> None:
    """A body that cannot be read for certain is a 415."""
    refusal = refused(lambda: check_body(body(PLAIN, *types, content_encodings=encodings), (FORM, JSON)))
    assert (refusal.reason, refusal.status) == ("method_unclear", 415)


def test_method_behind_the_cut() -> None:
    """A body of which the edge sees only a part is a 413, one that it is not shown a 503, an empty one goes on."""
    refusal = refused(lambda: check_body(body(PLAIN, URLENCODED, truncated=True), (FORM,)))
    assert (refusal.reason, refusal.status) == ("method_cut", 413)
    unseen = refused(lambda: check_body(CallBody(content_types=(URLENCODED,)), (FORM,)))
    assert (unseen.reason, unseen.status, "models" in unseen.description) == ("body_not_shown", 503, False)
    check_body(body("", content_encodings=("gzip",)), (FORM, JSON))


PIECES = ["&", "[", "&[", "%5b", "+_metho", "_method", "&x-http-", "\\", '"_metho', "a", " ", "\n", "\r", "\n ", "\t"]
PIECES += [
    "name=",
    "name= ",
    "name",
    "name=a=?",
    ";name=[",
    '"',
    "<",
    "\ncontent-",
    '"_method" ',
    "\nContent-Disposition:",
]


@pytest.mark.slow
@pytest.mark.parametrize("piece", PIECES)
def test_a_megabyte_is_read_at_once(piece: str) -> None:
    """The largest body that the edge sees takes a moment, whatever it holds."""
    # A tenth of a megabyte tells: what grows with the square of the length takes seconds of it.
    content = piece * (100_000 // len(piece))
    began = time.process_time()
    for start in (
        "",
        "a=",
        "&",
        "\nContent-Disposition: ",
        "\nContent-ID: ",
        "\nContent-Disposition: form-data; name=",
    ):
        is_in_pairs(start + content)
        is_in_parts(start + content)
    for start in ("", '"', '{"_method"'):
        with contextlib.suppress(Refusal):
            check_body(body(start + content, "application/json"), (JSON,))
    assert time.process_time() - began < 1
