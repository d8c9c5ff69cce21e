from __future__ import annotations

from pathlib import Path

import id as others
import pytest

from chalicelib.issuers.presets import PRESETS
from keybroker import find_identity
from keybroker.ambient import Identity
from tests.keybroker.sources.stand_ins import TOKEN, tool


def asked(tmp_path: Path, **variables: str) -> list[str]:
    environ = {"BUILDKITE": "true", **tool(tmp_path, "buildkite-agent", f"echo {TOKEN}"), **variables}
    assert find_identity("keybroker", environ) == Identity("buildkite", TOKEN)
    return (tmp_path / "arguments").read_text().splitlines()


def test_buildkite_is_asked_for_our_audience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Buildkite's agent is asked for our audience."""
    arguments = asked(tmp_path)
    assert arguments[:4] == ["oidc", "request-token", "--audience", "keybroker"]
    for name, value in {"BUILDKITE": "true", "PATH": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    assert others.detect_credential("keybroker") == TOKEN
    assert (tmp_path / "arguments").read_text().splitlines() == arguments[:4]


def test_buildkite_is_asked_for_the_ids(tmp_path: Path) -> None:
    """The agent is asked for the ids, without which the broker's preset refuses the token."""
    assert asked(tmp_path)[4:] == ["--claim", "organization_id,pipeline_id"]
    assert {path[0] for path in PRESETS["buildkite"].identity.paths} <= {"organization_id", "pipeline_id"}


def test_the_jobs_own_optional_claims_are_kept(tmp_path: Path) -> None:
    """Optional claims that the job wants are asked for beside the ids."""
    own = {"BUILDKITE_OIDC_TOKEN_CLAIMS": "cluster_id, pipeline_id,"}
    assert asked(tmp_path, **own)[4:] == ["--claim", "organization_id,pipeline_id,cluster_id"]
