"""A call of each kind of key as it comes in, and as it must go out: byte for byte, with every header in its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

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
    """`keybroker doctor` finds the keys of every provider but the unknown one's, and each pattern has an example."""
    patterns = {name for name, one in PROVIDERS.items() if one.key_pattern}
    assert patterns == PROVIDERS.keys() - {"generic"} == keys("key").keys() | keys("assigned key").keys()
    assert keys("assigned key").keys() == {name for name, one in PROVIDERS.items() if one.key_variables}


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
