from __future__ import annotations

from pathlib import Path

import id as others
import pytest

from keybroker import find_identity
from keybroker.ambient import Identity
from tests.keybroker.sources.stand_ins import TOKEN, tool


def test_buildkite_is_asked_for_our_audience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Buildkite's agent is asked for our audience."""
    environ = {"BUILDKITE": "true", **tool(tmp_path, "buildkite-agent", f"echo {TOKEN}")}
    assert find_identity("keybroker", environ) == Identity("buildkite", TOKEN)
    arguments = (tmp_path / "arguments").read_text()
    assert arguments.splitlines() == ["oidc", "request-token", "--audience", "keybroker"]
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert others.detect_credential("keybroker") == TOKEN
    assert (tmp_path / "arguments").read_text() == arguments
