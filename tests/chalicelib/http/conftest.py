"""What the tests of the public door share."""

from __future__ import annotations

import pytest

from tests.http_door import Door, public_door
from tests.parts import Parts


@pytest.fixture
def door(parts: Parts) -> Door:
    """The public door over a test's parts."""
    return public_door(parts)
