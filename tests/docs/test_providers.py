"""What is generated from the providers' entries is current (`make providers` writes it), and no provider is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chalicelib.providers.presets import PROVIDERS
from tests.provider_table import DATA, PAGES, data, page

DOC = next(path for path in PAGES if path.name == "providers.md")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_tables_are_current(path: Path) -> None:
    """If not: `make providers` writes them."""
    text = path.read_text(encoding="utf-8")
    assert page(text, PAGES[path]) == text


def test_command_line_data_is_current() -> None:
    """If not: `make providers` writes it."""
    assert DATA.read_text(encoding="utf-8") == data()


def test_missing_marker() -> None:
    """A page without the markers is an error."""
    with pytest.raises(ValueError, match="no place for presets"):
        page("# Providers\n", PAGES[DOC])


def test_every_preset_has_a_client() -> None:
    """Every preset has a client with its base URL."""
    text = DOC.read_text(encoding="utf-8")
    clients = text[text.index("## The base URL") : text.index("## Paths")]
    assert set(re.findall(r"`EDGE/([a-z-]+)", clients)) == PROVIDERS.keys() - {"generic"}
    assert "EDGE/<key>/" in clients
