from __future__ import annotations

import posixpath
import time
import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import Refusal
from chalicelib.providers.paths import split
from tests.refused import refused

PIECES = st.sampled_from(
    [
        "/",
        "/openai",
        "/v1",
        "a",
        ".",
        "..",
        "%2e",
        "%2E",
        "%2F",
        "%2f",
        "%5C",
        "%3A",
        "%25",
        "%20",
        "%C3%A9",
        "%00",
        ";",
        "\\",
        ":",
        "*",
        "@",
        "é",
        "\x00",
        "?",
        "#",
        " ",
        "%",
        "%zz",
        "%C0%AF",
        "~",
        "-",
        "gpt-5-mini",
        "%252e%252e",
        "%EF%BC%8E%EF%BC%8E",
        "%EF%BC%8F",
        "%E2%80%8B",
        "e%CC%81",
        "%F0%9F%98%80",
    ]
)
_GOOD = st.sampled_from(
    [
        "v1",
        "openai",
        "a%20b",
        "%C3%A9",
        "m:run",
        "*",
        "@me",
        "x.y",
        "~",
        "a=b,c",
        "%F0%9F%98%80",
        "v1beta",
        "api",
        "v3",
        "A",
    ]
)


@st.composite
def nearly_good(draw: st.DrawFn) -> str:
    """A good path with at most two pieces of any kind put in somewhere."""
    uri = "/openai/" + "/".join(draw(st.lists(_GOOD, min_size=1, max_size=6))) + draw(st.sampled_from(["", "/"]))
    for piece in draw(st.lists(PIECES, max_size=2)):
        place = draw(st.integers(0, len(uri)))
        uri = uri[:place] + piece + uri[place:]
    return uri


URIS = st.one_of(
    nearly_good(),
    nearly_good(),
    st.text(),
    st.lists(PIECES).map("".join),
    st.lists(PIECES).map(lambda found: "/openai/" + "".join(found)),
    st.lists(st.tuples(PIECES, PIECES)).map(lambda found: "/openai" + "".join(f"/{a}{b}" for a, b in found)),
)


def is_stable(path: str) -> bool:
    """Whether a server that decodes once or twice, normalises, trims or folds full-width letters still sees this path.

    An encoded slash is one in every reading: it is looked at as a separator here, and what it opens elsewhere
    (test_paths_readings.py). A `:` is plain, encoded or not.
    """
    path = path.replace("%2F", "/").replace("%3A", ":")
    once = unquote(path, errors="strict")
    end = "/" * path.endswith("/")
    return (
        unquote(once) == once
        and all(posixpath.normpath(text).rstrip("/") + end == text for text in (path, once))
        and [path.count(one) for one in "/:;?#\\"] == [once.count(one) for one in "/:;?#\\"]
        and not set(once) & set(";?#\\")
        and unicodedata.normalize("NFKC", once) == once
        and all(segment == segment.strip().rstrip(".") for segment in once.split("/"))
        and once.isprintable()
    )


def outcome_of(uri: str) -> tuple[str, str] | Refusal:
    try:
        return split(uri)
    except Refusal as refusal:
        return refusal


@given(URIS)
def test_accepted_path_has_one_reading(uri: str) -> None:
    """A path that is accepted is returned unchanged, and has one reading."""
    outcome = outcome_of(uri)
    if isinstance(outcome, Refusal):
        assert (outcome.reason, outcome.status) in {("path_ambiguous", 400), ("no_key", 404)}
        return
    assert "/{}{}".format(*outcome) == uri
    assert uri.isascii()
    assert is_stable(uri)


@given(st.lists(st.text("ab7._-", min_size=1, max_size=6).filter(lambda one: not one.endswith(".")), min_size=2))
def test_plain_paths(segments: list[str]) -> None:
    """Every plain path is accepted."""
    uri = "/" + "/".join(segments)
    assert split(uri) == (segments[0], "/" + "/".join(segments[1:]))


@pytest.mark.parametrize(
    ("uri", "key", "path"),
    [
        ("/openai/v1/chat/completions", "openai", "/v1/chat/completions"),
        ("/openai/v1/files/7", "openai", "/v1/files/7"),
        ("/openai/x", "openai", "/x"),
        ("/openai/v1/", "openai", "/v1/"),
        ("/openai/v1/.a", "openai", "/v1/.a"),
        ("/openai/v1/a..b", "openai", "/v1/a..b"),
        ("/o/v", "o", "/v"),
        ("/gemini/v1/models/gemini-2.5:generateContent", "gemini", "/v1/models/gemini-2.5:generateContent"),
        ("/openai/v1/models/a%20b%C3%A9", "openai", "/v1/models/a%20b%C3%A9"),
        ("/openai/v1%2Fx", "openai", "/v1%2Fx"),
        ("/openai/v1/kind%3A%20bug", "openai", "/v1/kind%3A%20bug"),
    ],
)
def test_split(uri: str, key: str, path: str) -> None:
    """A path is its key and the provider's own path."""
    assert split(uri) == (key, path)


@pytest.mark.parametrize(
    "uri",
    [
        "/openai/../x",
        "/openai/v1/..",
        "/openai/v1/.",
        "/openai/v1/...",
        "/openai/v1/organization.",
        "/openai/v1/organization%20",
        "/openai/v1/%20organization",
        "/openai/v1/organization./x",
        "/openai/v1/a%20:b",
        "/openai/%EF%BC%8E%EF%BC%8E/x",
        "/openai/v1%EF%BC%8Fx",
        "/openai/v1/e%CC%81",
        "/openai/v1/%E2%80%8B",
        "/openai/v1/%E2%80%AEx",
        "/openai/v1/%C2%85",
        "/openai/./v1",
        "/openai//v1",
        "/openai/v1//",
        "//openai/v1",
        "//",
        "/openai/%2e%2e/x",
        "/openai/%2E%2E/x",
        "/openai/.%2e/x",
        "/openai/v1%2fx",
        "/openai/v1%5Cx",
        "/openai/v1%3ax",
        "/openai/v1;x",
        "/openai/v1%3Bx",
        "/openai/v1\\x",
        "/openai/%252e",
        "/openai/v1\x00",
        "/openai/v1%00",
        "/openai/v1%0A",
        "/openai/v1%7F",
        "/openai/é",
        "/openai/%c3%a9",
        "/openai/%C3",
        "/openai/%61",
        "/openai/%C0%AF",
        "/openai/v1?x",
        "/openai/v1#x",
        "/openai/v1 x",
        "/openai/%",
        "/openai/%A",
        "",
        "openai/v1",
        "/openai/v1\n",
        "/openai/v1\u2028",
    ],
)
def test_ambiguous_path(uri: str) -> None:
    """A path with more than one reading is refused."""
    refusal = refused(lambda: split(uri))
    assert (refusal.reason, refusal.error, refusal.status) == ("path_ambiguous", "invalid_request", 400)


@pytest.mark.parametrize("uri", ["/openai", "/openai/", "/o", "/o/", "/"])
def test_no_key(uri: str) -> None:
    """A path without a key, or without a path after it, is not found."""
    refusal = refused(lambda: split(uri))
    assert (refusal.reason, refusal.error, refusal.status) == ("no_key", "not_found", 404)


@pytest.mark.parametrize("uri", ["/openai" + "/a" * 4000, "/openai/" + "%C3%A9" * 1300, "/openai/" + ":" * 8000])
def test_long_path_is_fast(uri: str) -> None:
    """A path of 8 KB is read at once."""
    began = time.perf_counter()
    assert "/{}{}".format(*split(uri)) == uri
    refused(lambda: split(f"{uri}/.."))
    assert time.perf_counter() - began < 0.5
