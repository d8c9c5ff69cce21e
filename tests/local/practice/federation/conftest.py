"""A clock that stands still."""

from __future__ import annotations

import pytest

from tests.own_issuer import Clock


@pytest.fixture
def clock() -> Clock:
    """The clock of an endpoint and of its issuer."""
    return Clock()
