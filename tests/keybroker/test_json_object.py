from __future__ import annotations

import pytest

from keybroker.json_object import read_json_object


@pytest.mark.parametrize("text", ["", "nul", "[]", '"text"', "[" * 100_000, b"\xff"])
def test_anything_but_an_object_is_empty(text: str | bytes) -> None:
    """A text that is not JSON, or not an object, has no members."""
    assert read_json_object(text) == {}


def test_an_object_has_its_members() -> None:
    """An object's members are returned."""
    assert read_json_object(b'{"a": [1]}') == {"a": [1]}
