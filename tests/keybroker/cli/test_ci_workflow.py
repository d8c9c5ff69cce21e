from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from keybroker.cli import ci_workflow, sdk_variables
from keybroker.cli.command_error import LOCAL, CommandError
from tests.offline_pip import LINE
from tests.running import ROOT

URL = "https://broker.example.com"
ACTION = f"octo-org/keybroker@{'0123456789' * 4}"
SOURCE = "git+https://git.octo-org.example/keybroker@0123456789"


def steps(key: str = "openai") -> list[dict[str, Any]]:
    [job] = yaml.safe_load(ci_workflow.github(key, URL, ACTION))["jobs"].values()
    found: list[dict[str, Any]] = job["steps"]
    return found


def test_github_checks_out_then_gets_the_token() -> None:
    """The workflow checks out, then gets the token, then runs the program: a token is not older than it has to be."""
    checkout, token, program = steps()
    assert re.fullmatch(r"actions/checkout@[0-9a-f]{40}", checkout["uses"])
    assert checkout["with"] == {"persist-credentials": False}
    assert (token["uses"], token["with"]) == (ACTION, {"url": URL, "key": "openai"})
    assert program["run"] == "python3 job.py"


def test_github_job_has_two_permissions() -> None:
    """The job may ask for its identity and read the repository, and no other job may do anything."""
    whole = yaml.safe_load(ci_workflow.github("openai", URL, ACTION))
    assert whole["permissions"] == {}
    assert whole["jobs"]["call"]["permissions"] == {"id-token": "write", "contents": "read"}


def test_github_inputs_and_outputs_are_the_actions() -> None:
    """What the workflow passes to the Action and reads of it is what action.yml declares."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    _, token, program = steps()
    assert {name for name, one in action["inputs"].items() if one.get("required")} <= token["with"].keys()
    assert token["with"].keys() <= action["inputs"].keys()
    read = re.findall(r"\$\{\{ steps\.(\w+)\.outputs\.([\w-]+) \}\}", " ".join(program["env"].values()))
    assert {step for step, _ in read} == {token["id"]}
    assert {output for _, output in read} <= action["outputs"].keys()


@pytest.mark.parametrize("key", [*sdk_variables.known(), "my-key"])
def test_github_sets_what_the_keys_sdk_reads(key: str) -> None:
    """The program gets the variables that `exec` would set for the key."""
    *_, program = steps(key)
    assert program["env"].keys() == sdk_variables.variables_for(key).assignments("", "").keys()


def test_zizmor_has_nothing_to_say(tmp_path: Path) -> None:
    """A security linter for workflows finds nothing in ours."""
    path = tmp_path / ".github" / "workflows" / "keybroker.yml"
    path.parent.mkdir(parents=True)
    path.write_text(ci_workflow.github("openai", URL, ACTION))
    command = [str(Path(sys.executable).with_name("zizmor")), "--offline", "--no-config", str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_gitlab_takes_a_wheel_with_its_hash() -> None:
    """A wheel's address with its hash stands in the YAML as it was passed."""
    source = f"https://mirror.octo-org.example/keybroker-0.1.0-py3-none-any.whl#sha256={'0123456789abcdef' * 4}"
    job = yaml.safe_load(ci_workflow.gitlab("openai", URL, source))["call"]
    assert job["variables"]["KEYBROKER_SOURCE"] == source


def test_gitlab_installs_by_the_one_line() -> None:
    """GitLab's job installs Keybroker from the source that was passed."""
    job = yaml.safe_load(ci_workflow.gitlab("openai", URL, SOURCE))["call"]
    assert job["script"] == [LINE, "keybroker exec --key openai -- python job.py"]
    assert job["variables"] == {"KEYBROKER_URL": URL, "KEYBROKER_SOURCE": SOURCE}


def test_placeholders_can_belong_to_nobody() -> None:
    """What stands for an address that is not filled in is no name that a stranger can register."""
    assert not re.fullmatch(r"[A-Za-z0-9-]+/[\w.-]+@[\w./-]+", ci_workflow.NO_ACTION)
    assert ci_workflow.NO_SOURCE.startswith("git+https://git.example.com/")
    assert yaml.safe_load(ci_workflow.github("openai", URL, ci_workflow.NO_ACTION))
    assert yaml.safe_load(ci_workflow.gitlab("openai", URL, ci_workflow.NO_SOURCE))


@pytest.mark.parametrize(
    "action",
    [
        "octo-org/keybroker",
        "keybroker@v1",
        "octo-org/keybroker@v1",
        "octo-org/keybroker@main",
        f"{ACTION}\n      - run: x",
        "",
    ],
)
def test_malformed_action_is_refused(action: str) -> None:
    """An Action without an owner, a name or a full commit, or with anything else in it, is refused."""
    with pytest.raises(CommandError, match="--action") as caught:
        ci_workflow.github("openai", URL, action)
    assert caught.value.code == LOCAL


@pytest.mark.parametrize("key", ["open ai", "a\n      - run: x", "$(id)", "a: b", ""])
def test_malformed_key_is_refused(key: str) -> None:
    """A key that no policy can have is refused, since it stands in commands and in YAML."""
    with pytest.raises(CommandError, match="--key") as caught:
        ci_workflow.github(key, URL, ACTION)
    assert caught.value.code == LOCAL
    with pytest.raises(CommandError, match="--key"):
        ci_workflow.gitlab(key, URL, SOURCE)


@pytest.mark.parametrize(
    "source", ["keybroker", "http://g.example/x", "git+https://g/x y", "https://g/$X", "https://g/'", ""]
)
def test_malformed_source_is_refused(source: str) -> None:
    """A source that is no URL is refused, above all a name, which pip would look up in an index."""
    with pytest.raises(CommandError, match="--source") as caught:
        ci_workflow.gitlab("openai", URL, source)
    assert caught.value.code == LOCAL
