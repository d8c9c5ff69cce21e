"""What the tests of the administration share."""

from __future__ import annotations

import pytest

from tests.http_door import Door, admin_door
from tests.parts import Parts


@pytest.fixture
def door(parts: Parts) -> Door:
    """The administrators' door over a test's parts."""
    return admin_door(parts)
