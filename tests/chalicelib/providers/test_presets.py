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

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "providers"


def filled(found: object, words: Mapping[str, str]) -> Any:  # noqa: ANN401  JSON
    text = json.dumps(found)
    for word, value in words.items():
        text = text.replace(word, value)
    return json.loads(text)


def test_every_preset_has_its_vector() -> None:
    assert {path.stem for path in VECTORS.iterdir()} == PROVIDERS.keys()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_call_goes_on_exactly_so(tmp_path: Path, provider: str) -> None:
    vector = json.loads((VECTORS / f"{provider}.json").read_text(encoding="utf-8"))
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
