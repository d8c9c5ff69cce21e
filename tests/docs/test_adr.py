"""Each decision's number is its file's, its title's, and no other's."""

from __future__ import annotations

import re

from tests.running import ROOT

PAGES = sorted((ROOT / "docs" / "adr").glob("*.md"))


def test_numbers_follow_one_another() -> None:
    """Two decisions of one number could not be told apart in a sentence that names it."""
    assert [int(page.name.partition("-")[0]) for page in PAGES] == list(range(1, len(PAGES) + 1))


def test_titles_have_their_numbers() -> None:
    """A page's title begins with its file's number."""
    for page in PAGES:
        title = re.match(r"# (\d+)\. ", page.read_text(encoding="utf-8"))
        assert title is not None, page.name
        assert int(title[1]) == int(page.name.partition("-")[0])
