"""The GitHub Action, as a runner runs it: its files under its variables, against a running Keybroker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from tests.running import POLICY, ROOT, Running, start

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
NODE = shutil.which("node")
BRANCH = "refs/heads/</pre>`x`\n::add-mask::x\n## nothing"
"""No branch is called so, but the broker's word is all that a step has for that."""


@dataclass
class Job:
    """A job on a runner. mint: makes its identity token for an audience."""

    directory: Path
    environment: dict[str, str]

    def step(self, name: str, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one of the action's files. variables: of the runner's."""
        found = command or (sys.executable, "-I", str(ROOT / "ci" / "github" / f"{name}_step.py"))
        environment = {**self.environment, **variables}
        return subprocess.run(
            found, cwd=self.directory, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def written(self, file: str) -> dict[str, str]:
        """Return what a step wrote for the runner, by name."""
        path = self.directory / file
        lines = path.read_text().splitlines() if path.exists() else []
        return dict(line.split("=", 1) for line in lines)

    def state(self) -> dict[str, str]:
        """Return what the runner tells the last step of what the first one wrote."""
        return {f"STATE_{name}": value for name, value in self.written("STATE").items()}


@contextmanager
def runner(mint: Callable[[str], str]) -> Iterator[str]:
    """Answer as GitHub's runners do when a job asks for its identity token; yield the URL."""

    class Runner(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers["authorization"] != "bearer of-this-job":
                self.send_error(401)
                return
            [audience] = parse_qs(urlsplit(self.path).query)["audience"]
            body = json.dumps({"value": mint(audience)}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  as it is called there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Runner)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/token?api-version=2.0"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def job(running: Running, directory: Path, repository_id: str, **claims: object) -> Iterator[Job]:
    """A job of a repository that wants a token for `openai`."""

    def mint(audience: str) -> str:
        return running.mint(repository_id, **{"aud": audience, **claims})

    with runner(mint) as url:
        files = {f"GITHUB_{name}": str(directory / name) for name in ("STATE", "OUTPUT", "ENV", "STEP_SUMMARY")}
        inputs = {f"INPUT_{name.upper()}": str(one.get("default", "")) for name, one in ACTION["inputs"].items()}
        inputs |= {"INPUT_URL": running.broker, "INPUT_KEY": "openai"}
        identity = {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-this-job"}
        yield Job(directory, {"PATH": os.environ["PATH"], "GITHUB_ACTIONS": "true", **files, **inputs, **identity})


def status(running: Running, token: str) -> int:
    return running.complete(token).status


def test_a_job_gets_a_token_that_works_until_the_job_ends(running: Running, tmp_path: Path) -> None:
    with job(running, tmp_path, "70001") as one:
        done = one.step("token")
        assert (done.returncode, done.stderr) == (0, "")
        outputs = one.written("OUTPUT")
        assert outputs.keys() == ACTION["outputs"].keys()
        assert outputs["base-url"] == f"{running.edge}/openai/v1"
        assert outputs["expires-at"].endswith("Z")
        assert status(running, outputs["token"]) == 200
        ended = one.step("revoke", **one.state())
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "keybroker: the token is revoked")
    assert status(running, outputs["token"]) == 403


def test_the_token_is_masked_before_it_is_written(running: Running, tmp_path: Path) -> None:
    with job(running, tmp_path, "70002") as one:
        done = one.step("token")
        token = one.written("OUTPUT")["token"]
        first, *rest = done.stdout.splitlines()
        assert first == f"::add-mask::{token}"
        assert not any(token in line for line in rest)
        assert not (tmp_path / "STEP_SUMMARY").exists()
        assert one.written("ENV") == {}, "nothing is set for other steps unless that is asked for"


def test_what_the_sdk_reads_is_set_for_later_steps_where_that_is_asked_for(running: Running, tmp_path: Path) -> None:
    with job(running, tmp_path, "70003") as one:
        one.step("token", INPUT_EXPORT="true")
        token = one.written("OUTPUT")["token"]
        assert one.written("ENV") == {"OPENAI_API_KEY": token, "OPENAI_BASE_URL": f"{running.edge}/openai/v1"}


def test_refused_job_summary(running: Running, tmp_path: Path) -> None:
    """A refused job is shown the reason, the claims of its identity token and the start of a matching grant."""
    with job(running, tmp_path, "70004", repository_owner_id="1") as one:
        done = one.step("token")
    assert done.returncode == 1
    [line] = done.stdout.splitlines()
    assert line.startswith("::error title=Keybroker::invalid_target: ")
    assert "repository_owner_id" in line
    summary = (tmp_path / "STEP_SUMMARY").read_text()
    assert '    "repository_id": "70004"' in summary
    assert 'claims: {repository_owner_id: "1", repository_id: "70004"}}' in summary
    assert one.written("OUTPUT") == one.state() == {}


def test_what_a_branch_is_called_is_no_command_to_the_runner(running: Running, tmp_path: Path) -> None:
    with job(running, tmp_path, "70005", repository_owner_id="1", ref=BRANCH) as one:
        done = one.step("token")
    assert [line[:8] for line in done.stdout.splitlines()] == ["::error "]


def test_what_a_branch_is_called_is_no_markdown(running: Running, tmp_path: Path) -> None:
    with job(running, tmp_path, "70006", repository_owner_id="1", ref=BRANCH, sub=BRANCH) as one:
        one.step("token")
    lines = (tmp_path / "STEP_SUMMARY").read_text().splitlines()
    ours = {line for line in lines if line and not line.startswith("    ")}
    assert ours == {
        "### Keybroker issued no token",
        "The job's identity token has these claims:",
        "A grant that admits it starts like this (docs/grants.md):",
    }


@pytest.mark.slow
def test_the_broker_says_for_which_audience_the_identity_has_to_be(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    with (
        start(policy=POLICY.replace("audience: keybroker", "audience: keybroker.octo-org")) as other,
        job(other, tmp_path / "job", "70007") as one,
    ):
        assert one.step("token").returncode == 0
        assert one.step("token", INPUT_AUDIENCE="keybroker").returncode == 1, "what is given is not asked for"


def test_a_job_that_may_not_ask_for_its_identity_is_told_what_to_add(running: Running, tmp_path: Path) -> None:
    with job(running, tmp_path, "70008") as one:
        del one.environment["ACTIONS_ID_TOKEN_REQUEST_URL"]
        done = one.step("token")
    assert done.returncode == 1
    assert "ACTIONS_ID_TOKEN_REQUEST_URL is not set" in done.stdout
    assert "id-token: write" in done.stdout


@pytest.mark.parametrize("name", ["url", "key"])
def test_an_input_that_is_missing_is_named(running: Running, tmp_path: Path, name: str) -> None:
    with job(running, tmp_path, "70009") as one:
        done = one.step("token", **{f"INPUT_{name.upper()}": ""})
    assert (done.returncode, done.stdout) == (1, f"::error title=Keybroker::missing input: '{name}'\n")


def test_without_a_broker_the_job_is_told_and_its_end_fails_nothing(running: Running, tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:1"
    with job(running, tmp_path, "70010") as one:
        done = one.step("token", INPUT_URL=nowhere)
        ended = one.step("revoke", STATE_URL=nowhere, STATE_TOKEN="x")
    assert done.returncode == 1
    assert done.stdout.startswith("::error title=Keybroker::cannot reach 127.0.0.1:1")
    assert ended.returncode == 0
    assert ended.stdout.splitlines()[1].startswith("::warning title=Keybroker::the token was not revoked")


def test_a_job_that_got_no_token_has_none_to_take_back(running: Running, tmp_path: Path) -> None:
    with job(running, tmp_path, "70011") as one:
        ended = one.step("revoke")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_what_lies_in_the_workspace_is_not_imported(running: Running, tmp_path: Path) -> None:
    for name in ("keybroker", "json", "ci"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the workspace')")
    with job(running, tmp_path, "70012") as one:
        done = one.step("token", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(NODE is None, reason="there is no node here: what starts the two steps was NOT tried")
def test_node_starts_the_steps_that_the_action_names(running: Running, tmp_path: Path) -> None:
    runs = ACTION["runs"]
    with job(running, tmp_path, "70013") as one:
        first = one.step("", str(NODE), str(ROOT / runs["main"]))
        assert first.returncode == 0, first
        token = one.written("OUTPUT")["token"]
        assert one.step("", str(NODE), str(ROOT / runs["post"]), **one.state()).returncode == 0
        assert status(running, token) == 403
        assert one.step("", str(NODE), str(ROOT / runs["main"]), INPUT_URL="").returncode == 1


@pytest.mark.skipif(NODE is None, reason="there is no node here: how Windows starts the steps was NOT tried")
def test_node_starts_python_by_the_name_that_windows_has(running: Running, tmp_path: Path) -> None:
    """Where Node says that it is Windows, the step is started as `python`, without a shell."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tools / "python").chmod(0o755)
    windows = f"Object.defineProperty(process, 'platform', {{value: 'win32'}}); require({str(ROOT / ACTION['runs']['main'])!r})"
    with job(running, tmp_path, "70014") as one:
        done = one.step("", str(NODE), "-e", windows, PATH=str(tools))
        missing = one.step("", str(NODE), "-e", windows, PATH=str(tmp_path))
        token = one.written("OUTPUT")["token"]
    assert (done.returncode, status(running, token)) == (0, 200), done
    assert missing.returncode == 1
    assert "python cannot be started (ENOENT); add actions/setup-python" in missing.stdout


def test_zizmor_has_nothing_to_say() -> None:
    command = [str(Path(sys.executable).with_name("zizmor")), "--offline", "--persona", "auditor", "action.yml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
