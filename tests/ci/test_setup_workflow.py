"""The workflow that `keybroker setup github` writes, run step by step as GitHub's runner runs it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from keybroker.cli import ci_workflow
from tests.ci.test_github_action import Job, job, status
from tests.ci.test_snippets import EVAL
from tests.running import Running

ACTION = f"octo-org/keybroker@{'0123456789' * 4}"


def filled_in(values: Mapping[str, str], outputs: Mapping[str, str]) -> dict[str, str]:
    """Return variables with the outputs of the step `keybroker` in place of its expressions."""
    pattern = re.compile(r"\$\{\{ steps\.keybroker\.outputs\.([\w-]+) \}\}")
    return {name: pattern.sub(lambda found: outputs[found[1]], value) for name, value in values.items()}


def run_program(one: Job, step: Mapping[str, dict[str, str]], outputs: Mapping[str, str], home: Path) -> str:
    tools = home / "tools"
    tools.mkdir()
    (tools / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tools / "python3").chmod(0o755)
    environment = {"PATH": f"{tools}:/usr/bin:/bin", **filled_in(step["env"], outputs)}
    command = ["bash", "-e", "-c", str(step["run"])]
    done = subprocess.run(
        command, cwd=one.directory, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_workflow_makes_a_call_and_takes_its_token_back(running: Running, tmp_path: Path) -> None:
    """From an empty workspace: the job checks out, gets a token, its program makes a call, and the token ends with it."""
    repository, workspace = tmp_path / "repository", tmp_path / "workspace"
    for one in (repository, workspace):
        one.mkdir()
    (repository / "job.py").write_text(EVAL)
    text = ci_workflow.github("openai", running.broker, ACTION)
    steps = yaml.safe_load(text)["jobs"]["call"]["steps"]
    with job(running, workspace, "70101") as here:
        for step in steps:
            uses = step.get("uses", "")
            if uses.startswith("actions/checkout@"):
                shutil.copytree(repository, workspace, dirs_exist_ok=True)
            elif uses == ACTION:
                inputs = {f"INPUT_{name.upper()}": value for name, value in step["with"].items()}
                assert here.step("token", **inputs).returncode == 0
            else:
                assert run_program(here, step, here.written("OUTPUT"), tmp_path) == "answered: True\n"
        token = here.written("OUTPUT")["token"]
        here.step("revoke", **here.state())
    assert status(running, token) == 403
