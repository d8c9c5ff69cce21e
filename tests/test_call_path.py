from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.call_path import split
from chalicelib.errors import Refusal

_PIECES = st.sampled_from(
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
    ]
)
_URIS = st.one_of(
    st.text(), st.lists(_PIECES).map("".join), st.lists(_PIECES).map(lambda found: "/openai/" + "".join(found))
)


def outcome_of(uri: str) -> tuple[str, str] | Refusal:
    try:
        return split(uri)
    except Refusal as refusal:
        return refusal


@settings(derandomize=True, deadline=None, max_examples=200)
@given(_URIS)
def test_what_is_accepted_is_returned_unchanged_and_has_one_reading(uri: str) -> None:
    outcome = outcome_of(uri)
    if isinstance(outcome, Refusal):
        assert (outcome.reason, outcome.status) in {("path_ambiguous", 400), ("no_key", 404)}
        return
    assert "/{}{}".format(*outcome) == uri
    assert uri.isascii()
    assert uri.isprintable()
    assert not set(uri) & set("?#;\\ ")
    decoded = unquote_to_bytes(uri).decode("utf-8")
    for separator in "/:":
        assert decoded.count(separator) == uri.count(separator)
    assert not re.search(r"%[0-9A-Fa-f]{2}", decoded)
    assert not set(decoded) & set(";\\?#\x00")
    assert not {"", ".", ".."} & set(decoded.removesuffix("/").split("/")[1:])


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.text("ab7._-", min_size=1, max_size=6).filter(lambda one: one not in {".", ".."}), min_size=2))
def test_every_plain_path_is_accepted(segments: list[str]) -> None:
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
        ("/openai/v1/...", "openai", "/v1/..."),
        ("/o/v", "o", "/v"),
        ("/gemini/v1/models/gemini-2.5:generateContent", "gemini", "/v1/models/gemini-2.5:generateContent"),
        ("/openai/v1/models/a%20b%C3%A9", "openai", "/v1/models/a%20b%C3%A9"),
    ],
)
def test_a_path_is_its_key_and_the_provider_s_own_path(uri: str, key: str, path: str) -> None:
    assert split(uri) == (key, path)


@pytest.mark.parametrize(
    "uri",
    [
        "/openai/../x",
        "/openai/v1/..",
        "/openai/v1/.",
        "/openai/./v1",
        "/openai//v1",
        "/openai/v1//",
        "//openai/v1",
        "//",
        "/openai/%2e%2e/x",
        "/openai/%2E%2E/x",
        "/openai/.%2e/x",
        "/openai/v1%2fx",
        "/openai/v1%2Fx",
        "/openai/v1%5Cx",
        "/openai/v1%3ax",
        "/openai/v1%3Ax",
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
def test_what_has_more_than_one_reading_is_refused(uri: str) -> None:
    with pytest.raises(Refusal) as caught:
        split(uri)
    assert (caught.value.reason, caught.value.error, caught.value.status) == ("path_ambiguous", "invalid_request", 400)


@pytest.mark.parametrize("uri", ["/openai", "/openai/", "/o", "/o/", "/"])
def test_a_path_without_a_key_and_a_path_behind_it_is_not_found(uri: str) -> None:
    with pytest.raises(Refusal) as caught:
        split(uri)
    assert (caught.value.reason, caught.value.error, caught.value.status) == ("no_key", "not_found", 404)
