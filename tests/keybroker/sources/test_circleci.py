from __future__ import annotations

import json
from pathlib import Path

import id as others
import pytest

from keybroker import find_identity
from keybroker.ambient import Identity
from tests.keybroker.sources.stand_ins import TOKEN, tool


def test_circleci_is_asked_for_our_audience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CircleCI's tool is asked for our audience."""
    environ = {"CIRCLECI": "true", **tool(tmp_path, "circleci", f"echo {TOKEN}")}
    assert find_identity("keybroker", environ) == Identity("circleci", TOKEN)
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert arguments[:4] == ["run", "oidc", "get", "--claims"]
    assert json.loads(arguments[4]) == {"aud": "keybroker"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert others.detect_credential("keybroker") == TOKEN  # theirs asks the root issuer, which has no organisation
    assert (tmp_path / "arguments").read_text().splitlines() == [*arguments, "--root-issuer"]
