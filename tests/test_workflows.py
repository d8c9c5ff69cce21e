"""The repository's own workflows: what they run, what they may do, and that a linter finds nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.preflight.tools import RUNTIMES
from tests.running import ROOT

FOLDER = ROOT / ".github" / "workflows"
NAMES = ("ci", "release")


def jobs(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yml").read_text())
    assert read["permissions"] == {}
    found: dict[str, Any] = read["jobs"]
    return found


def test_workflows_are_all_tested() -> None:
    """There is no workflow that is not in this file."""
    assert sorted(one.name for one in FOLDER.iterdir()) == [f"{name}.yml" for name in NAMES]


def test_zizmor_finds_nothing() -> None:
    """A security linter for workflows finds nothing in them."""
    command = [str(Path(sys.executable).with_name("zizmor")), "--offline", "--no-config", str(FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_pinned_by_commit(name: str) -> None:
    """No action can change under a workflow, and no checkout leaves its token behind."""
    for job in jobs(name).values():
        if "uses" in job:
            assert job["uses"] == "$/.github/workflows/ci.yml"
        for step in job.get("steps", []):
            if "uses" in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"] == {"persist-credentials": False}


def test_ci_runs_what_every_change_must_pass() -> None:
    """Each Python that Lambda runs has to pass .ci/run."""
    [job] = jobs("ci").values()
    assert tuple(job["strategy"]["matrix"]["python"]) == RUNTIMES
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]


def test_release_jobs_have_least_permissions() -> None:
    """What runs code of the repository may sign and publish nothing, and what signs runs none of it."""
    found = jobs("release")
    assert {name: job["permissions"] for name, job in found.items()} == {
        "ci": {"contents": "read"},
        "build": {"contents": "read"},
        "attest": {"id-token": "write", "attestations": "write"},
        "pypi": {"id-token": "write"},
        "github": {"contents": "write"},
    }
    for name in ("attest", "pypi"):
        assert not [step for step in found[name]["steps"] if "run" in step]
    assert "secrets." not in (FOLDER / "release.yml").read_text(), "publishing needs no stored secret"


def test_release_waits_for_tests_and_attestations() -> None:
    """Nothing is built before the tests passed, nor published before it is attested."""
    found = jobs("release")
    assert {name: job.get("needs") for name, job in found.items()} == {
        "ci": None,
        "build": "ci",
        "attest": "build",
        "pypi": "attest",
        "github": "attest",
    }
    assert found["attest"]["steps"][-1]["with"] == {"subject-path": "release/*"}
    assert found["pypi"]["steps"][-1]["with"] == {"attestations": True}
