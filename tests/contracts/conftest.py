"""Every set of adapters in turn, each over a store of its own that is empty but for its schema."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contracts import sqlite_adapters
from tests.contracts.adapters import Adapters, Make

_SETS: dict[str, Make] = {"sqlite": sqlite_adapters.made}


@pytest.fixture(params=sorted(_SETS))
def make_adapters(request: pytest.FixtureRequest) -> Make:
    """What makes a set of adapters over an empty store, as often as a test wants one."""
    return _SETS[request.param]


@pytest.fixture
def adapters(make_adapters: Make) -> Iterator[Adapters]:
    """One set of adapters over an empty store."""
    with make_adapters() as one:
        yield one
