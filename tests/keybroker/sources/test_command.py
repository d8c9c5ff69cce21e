from __future__ import annotations

from pathlib import Path

import pytest

from keybroker import IdentityError, find_identity
from keybroker.sources import command
from tests.keybroker.sources.stand_ins import TOKEN, tool


def test_a_missing_tool_is_an_error(tmp_path: Path) -> None:
    """A CI tool that is not on PATH is an error."""
    with pytest.raises(IdentityError, match="buildkite-agent is not on PATH"):
        find_identity(environ={"BUILDKITE": "true", "PATH": str(tmp_path)})


def test_a_tool_that_fails_is_quoted_by_its_stderr_alone(tmp_path: Path) -> None:
    """A failing tool is quoted by its stderr, never by its stdout."""
    script = f"echo {TOKEN}; echo no OIDC for this job >&2; exit 3"
    with pytest.raises(IdentityError, match="exit code 3: no OIDC for this job") as caught:
        find_identity(environ={"BUILDKITE": "true", **tool(tmp_path, "buildkite-agent", script)})
    assert TOKEN.split(".")[1] not in str(caught.value)


def test_a_tool_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that hangs is stopped, and what it printed is not kept."""
    monkeypatch.setattr(command, "TIMEOUT", 0.3)
    script = f"echo {TOKEN}; exec sleep 60"
    with pytest.raises(IdentityError, match="issued no identity token within") as caught:
        find_identity(environ={"CIRCLECI": "true", **tool(tmp_path, "circleci", script)})
    assert caught.value.__cause__.__cause__ is None  # type: ignore[union-attr]  # what it printed is not kept


def test_a_broken_tool_is_an_error(tmp_path: Path) -> None:
    """A tool that cannot be started is an error."""
    environ = tool(tmp_path, "circleci", "")
    (tmp_path / "circleci").write_text("#!/nonexistent\n")
    with pytest.raises(IdentityError, match="cannot be started"):
        find_identity(environ={"CIRCLECI": "true", **environ})
