"""A provider's own addresses in the headers of an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.edge.provider_addresses import on_the_edge

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "provider_addresses.json").read_text()
)
ORIGIN = "https://api.github.com"
BASE = "https://edge.example/github"


@pytest.mark.parametrize("vector", VECTORS, ids=[one["name"] for one in VECTORS])
def test_provider_addresses_vectors(vector: dict[str, Any]) -> None:
    """An address of the key's own origin is the edge's, and no other is changed."""
    mapped = on_the_edge([(vector["header"], vector["value"])], vector["origin"], BASE)
    assert mapped == [(vector["header"], vector["right"])]


def test_order_and_repeats_are_kept() -> None:
    """Headers keep their order, their spelling and their repeats."""
    headers = [("Link", f"<{ORIGIN}/a>"), ("X-A", "1"), ("link", f"<{ORIGIN}/b>"), ("x-a", "2")]
    mapped = [("Link", f"<{BASE}/a>"), ("X-A", "1"), ("link", f"<{BASE}/b>"), ("x-a", "2")]
    assert on_the_edge(headers, ORIGIN, BASE) == mapped


@given(
    st.lists(
        st.sampled_from(
            ["https:", "http:", "//", "/", "api.github.com", ".", ":443", "@", "evil.example", "?", "#", "\\", "a"]
        )
    ),
)
def test_only_the_edge_takes_the_origins_place(parts: list[str]) -> None:
    """What a client follows after the change is at the edge, or where it was before."""
    reference = "".join(parts)
    [(_, mapped)] = on_the_edge([("location", reference)], ORIGIN, BASE)
    if mapped != reference:
        assert urlsplit(urljoin(f"{BASE}/x", mapped)).netloc == "edge.example"
        assert urlsplit(urljoin(f"{ORIGIN}/x", reference)).hostname == "api.github.com"


@given(st.text(st.sampled_from('<>",; \\"=a'), max_size=40))
def test_any_link_is_read(value: str) -> None:
    """A link that is no link is left as it is."""
    assert on_the_edge([("link", value)], ORIGIN, BASE) == [("link", value)]
