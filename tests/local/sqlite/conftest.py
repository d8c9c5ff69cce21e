"""A state file, and a machine's clocks that a test moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.sqlite.state_file import StateFile
from local.sqlite.steady_clock import Reading

NOW = 1_800_000_000


class Clocks:
    """Both clocks of a machine."""

    def __init__(self) -> None:
        self.reading = Reading(NOW, 1000.0, "boot-1")

    def __call__(self) -> Reading:
        return self.reading

    def go(self, seconds: int) -> None:
        """Let time pass."""
        wall, ticks, boot = self.reading
        self.reading = Reading(wall + seconds, ticks + seconds, boot)

    def leap(self, seconds: int) -> None:
        """Set the wall clock."""
        self.reading = self.reading._replace(wall=self.reading.wall + seconds)

    def reboot(self, seconds: int) -> None:
        """Let the machine be off for some time."""
        self.reading = Reading(self.reading.wall + seconds, 5.0, self.reading.boot + "'")


@pytest.fixture
def clocks() -> Clocks:
    """The clocks, at NOW."""
    return Clocks()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[StateFile]:
    """A new state file that is closed at the end."""
    StateFile.create(tmp_path / "state.db")
    made = StateFile(tmp_path / "state.db", durable=False)
    yield made
    made.close()
