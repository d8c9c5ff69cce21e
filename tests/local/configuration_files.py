"""Reads configuration files that tests write."""

from __future__ import annotations

from pathlib import Path

import pytest

from local import configuration
from local.configuration import Configuration, InvalidConfigurationError


def read(directory: Path, text: str) -> Configuration:
    """Read a file of this text."""
    (directory / "keybroker.toml").write_text(text)
    return configuration.read(directory / "keybroker.toml")


def faults(directory: Path, text: str) -> list[tuple[int, str]]:
    """Return the line and the field of each fault of a file with this text."""
    with pytest.raises(InvalidConfigurationError) as caught:
        read(directory, text)
    return [(fault.line, fault.field) for fault in caught.value.faults]
