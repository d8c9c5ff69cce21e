"""What the tests of AWS's adapters share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faulty_dynamodb import Door, door


@pytest.fixture(scope="module")
def opened() -> Iterator[Door]:
    """A door to moto that sees every request arrive, and may fail it."""
    with door() as one:
        yield one
