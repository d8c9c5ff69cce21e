from __future__ import annotations

import re

import pytest

from chalicelib.providers.presets import PROVIDERS
from tests.provider_table import DOC, written


def test_tables_are_current() -> None:
    """If not: `python -m tests.provider_table` writes them."""
    text = DOC.read_text(encoding="utf-8")
    assert written(text) == text


def test_missing_marker() -> None:
    """A page without the markers is an error."""
    with pytest.raises(ValueError, match="no place for presets"):
        written("# Providers\n")


def test_every_preset_has_a_client() -> None:
    """Every preset has a client with its base URL."""
    text = DOC.read_text(encoding="utf-8")
    clients = text[text.index("## The base URL") : text.index("## Paths")]
    assert set(re.findall(r"`EDGE/([a-z-]+)", clients)) == PROVIDERS.keys() - {"generic"}
    assert "EDGE/<key>/" in clients
