"""A site that stands in for what issues identity tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.keybroker.sources.stand_ins import Site, serving


@pytest.fixture
def site() -> Iterator[Site]:
    """Return a site of this test's own."""
    with serving() as one:
        yield one
