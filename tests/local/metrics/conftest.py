"""A directory for the numbers of a server's workers."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where workers add up; the variable that they set is taken back."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    return tmp_path
