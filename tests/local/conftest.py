"""A state directory for the tests of its commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.machine import Machine
from tests.local.state_commands import release
from tests.local.test_machine import REAL, set_real_key, start
from tests.local.test_machine import policy as policy  # noqa: PLC0414  a fixture


@pytest.fixture
def machine(tmp_path: Path, policy: Path) -> Iterator[Machine]:
    """A real installation that does not run now, with a key."""
    made = start(tmp_path / "state", REAL, policy)
    set_real_key(made)
    yield made
    release()
