"""The providers' entries, and a call of each as it comes in and as it must go out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from chalicelib import patterns
from chalicelib.providers import paths
from chalicelib.providers.header_names import TOKEN_HEADERS
from chalicelib.providers.presets import PROVIDERS
from tests.edge_function import Door, provide
from tests.parts import parts_in
from tests.provider_vectors import VECTORS, keys


def filled(found: object, words: Mapping[str, str]) -> Any:  # noqa: ANN401  JSON
    text = json.dumps(found)
    for word, value in words.items():
        text = text.replace(word, value)
    return json.loads(text)


def test_every_preset_has_its_vector() -> None:
    """Every provider has a vector, and none is left over."""
    assert VECTORS.keys() == PROVIDERS.keys()


def test_every_key_pattern_has_an_example() -> None:
    """`keybroker doctor` finds the keys of every provider but the unknown one's, and an App's, which are as GitHub's others, and each pattern has an example."""
    patterns = {name for name, one in PROVIDERS.items() if one.key_pattern}
    assert patterns == PROVIDERS.keys() - {"generic", "github-app"} == keys("key").keys() | keys("assigned key").keys()
    assert keys("assigned key").keys() == {name for name, one in PROVIDERS.items() if one.key_variables}


@pytest.mark.parametrize("name", PROVIDERS)
def test_entry_is_consistent(name: str) -> None:
    """An entry sends its key where tokens are taken off, and writes its paths in one form."""
    one = PROVIDERS[name]
    assert one.header in TOKEN_HEADERS, "a key is only ever put where tokens are taken off"
    assert set(one.token_headers) <= set(TOKEN_HEADERS)
    assert one.header in one.token_headers
    assert (one.origin is None) or urlsplit(one.origin)[2:] == ("", "", ""), "an origin is no more than a host"
    for path in (*one.closed, *(form for _, form in one.paths if form), *([one.base_path] if one.base_path else [])):
        assert path.startswith("/")
        assert not path.endswith("/")
    assert all(patterns.fault(f"GET:{path}") is None for path in one.closed)


@pytest.mark.parametrize("name", PROVIDERS)
def test_probe(name: str) -> None:
    """A probe changes nothing, and is for a path in the provider's own form."""
    one = PROVIDERS[name]
    if one.probe is None:
        assert name in ("generic", "bedrock")
        return
    assert paths.split(f"/{name}{one.probe.path}") == (name, one.probe.path)
    assert paths.to_provider_form(one.probe.path, one.paths) == one.probe.path
    assert one.probe.method == "GET", "a probe changes nothing"
    assert not {header for header, _ in one.probe.headers} & set(TOKEN_HEADERS)


@pytest.mark.parametrize("name", PROVIDERS)
def test_closed_paths_are_in_provider_form(name: str) -> None:
    """A closed path is in the provider's own form; in another it would close nothing."""
    for path in PROVIDERS[name].closed:
        assert paths.to_provider_form(path.replace("*", "x"), PROVIDERS[name].paths) == path.replace("*", "x")


@pytest.mark.parametrize("name", PROVIDERS)
def test_longer_prefix_first(name: str) -> None:
    """A longer beginning of a path is looked for first; else it would never be found."""
    theirs = [one for one, _ in PROVIDERS[name].paths]
    assert not [(a, b) for a, b in combinations(theirs, 2) if b.startswith(a + "/") or a == ""]


def test_token_in_query() -> None:
    """Only Google's clients send a key in the query."""
    assert {name: one.token_parameter for name, one in PROVIDERS.items() if one.token_parameter} == {"gemini": "key"}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_call_goes_on(tmp_path: Path, provider: str) -> None:
    """A call goes on as its vector says: byte for byte, with every header in its place."""
    vector = VECTORS[provider]
    with parts_in(tmp_path) as parts:
        token = provide(parts, provider, vector["scope"], origin=vector["origin"])
        door = Door(parts)
        words = {"TOKEN": token, "PROVIDER-KEY": parts.value(provider)}
        cloudfront = {"config": vector["config"], "request": filled(vector["in"], words)}
        result = door.handle({"Records": [{"cf": cloudfront}]}, None)
    assert result == filled(vector["out"], words)
    assert list(result["headers"]) == list(vector["out"]["headers"]), "headers keep their order, the key's comes last"
    assert token not in json.dumps(result)
    assert door.log == []
