from __future__ import annotations

import re

import pytest

from chalicelib.providers.keys import PROVIDERS
from tests.provider_table import DOC, written


def test_the_page_s_tables_are_the_presets() -> None:
    """If not: `python -m tests.provider_table` writes them."""
    text = DOC.read_text(encoding="utf-8")
    assert written(text) == text


def test_a_page_without_a_place_for_a_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="no place for presets"):
        written("# Providers\n")


def test_every_preset_has_a_client_with_its_base_url() -> None:
    text = DOC.read_text(encoding="utf-8")
    clients = text[text.index("## The base URL") : text.index("## Paths")]
    assert set(re.findall(r"`EDGE/([a-z-]+)", clients)) == PROVIDERS.keys() - {"generic"}
    assert "EDGE/<key>/" in clients
