"""The snippets for other CI systems: their own commands, as those systems run them, against a running Keybroker.

A job starts in a checkout of the user's repository, without Keybroker: it has to install it, by the line that stands there,
with the real pip. Packages come from this machine, and the CI's own tool is a small program in its place.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # has no types
import pytest
import yaml

from keybroker import ambient
from keybroker.sources import gitlab, kubernetes
from tests import offline_pip
from tests.running import ROOT, Running

CI = ROOT / "ci"
EVAL = """\
import openai
said = openai.OpenAI().chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "hello"}])
print("answered:", bool(said.choices[0].message.content))
"""
SOURCE = re.compile(r"git\+https://git\.example\.com/keybroker@COMMIT")
"""A name that nobody can own, so that a snippet that was copied and not filled in installs nothing."""


def read(name: str) -> Any:  # noqa: ANN401  YAML
    return yaml.safe_load((CI / name).read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return offline_pip.build_wheel(tmp_path_factory.mktemp("wheel"))


@dataclass
class Machine:
    """Where a job runs: a checkout, and what is on PATH. python: whether the image has a python and a pip, as images have."""

    directory: Path
    running: Running
    wheel: Path

    def __post_init__(self) -> None:
        self.tools = self.directory / "tools"
        self.checkout = self.directory / "checkout"
        for one in (self.tools, self.checkout):
            one.mkdir()
        (self.checkout / "eval.py").write_text(EVAL)
        (self.checkout / "requirements.txt").write_text("openai\n")
        self.path = f"{self.tools}:/usr/bin:/bin"
        self.python3 = offline_pip.write_python(self.tools, self.directory / "packages")

    def as_image(self) -> None:
        """Give the machine what images of Python have: `python` and `pip`, which install for everybody."""
        image = self.directory / "image"
        subprocess.run([self.python3, "-m", "venv", str(image)], check=True, timeout=60)
        self.path = f"{image / 'bin'}:{self.path}"

    def tool(self, name: str, expected: str, prints: str) -> None:
        """Put the CI's own tool on PATH; it prints something if its arguments are the expected ones."""
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n[ \"$*\" = '{expected}' ] && echo {prints}\n")
        path.chmod(0o755)

    def run(self, shells: Iterable[str], variables: Mapping[str, str], **more: str) -> tuple[int, str]:
        """Run each script in a shell of its own; return the exit code and everything that was written.

        variables: as the snippet sets them; the address of the broker and of Keybroker's source are this test's.
        """
        assert variables["KEYBROKER_URL"] == "https://broker.example.com"
        assert SOURCE.fullmatch(variables["KEYBROKER_SOURCE"])
        environment = {
            "PATH": self.path,
            "HOME": str(self.directory),
            "AWS_EC2_METADATA_DISABLED": "true",
            **offline_pip.ENVIRON,
            **variables,
            **more,
            "KEYBROKER_URL": self.running.broker,
            "KEYBROKER_SOURCE": self.wheel.as_uri(),
        }
        said = ""
        for script in shells:
            done = subprocess.run(
                ["bash", "-e", "-c", script],
                cwd=self.checkout,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=90,
                check=False,
            )
            said += done.stdout
            if done.returncode != 0:
                return done.returncode, said
        return 0, said


@pytest.fixture
def machine(running: Running, wheel: Path, tmp_path: Path) -> Machine:
    return Machine(tmp_path, running, wheel)


def gitlab_variables(job: Mapping[str, Any]) -> dict[str, str]:
    """What a job's variables are on a runner, which fills in those that it knows itself."""
    return {name: str(value).replace("$CI_PROJECT_DIR/", "") for name, value in job["variables"].items()}


@pytest.mark.slow
def test_a_gitlab_job_that_extends_the_template_makes_a_call(running: Running, machine: Machine) -> None:
    """A GitLab job that extends the template installs Keybroker and makes a call."""
    machine.as_image()
    job = read("gitlab.yml")[".keybroker"]
    usage = "\n".join(re.findall(r"^#   (.*)", (CI / "gitlab.yml").read_text(), re.MULTILINE))
    [(variable, wanted)] = job["id_tokens"].items()
    assert variable == gitlab.variable_name(wanted["aud"])
    token = running.mint("71001", aud=wanted["aud"])
    script = yaml.safe_load(usage)["evaluate"]["script"]
    one_shell = "\n".join([*job["before_script"], *script])
    code, said = machine.run([one_shell], gitlab_variables(job), GITLAB_CI="true", **{variable: token})
    assert (code, said.splitlines()[-1]) == (0, "answered: True"), said
    assert token not in said


@pytest.mark.slow
def test_a_circleci_job_makes_a_call(running: Running, machine: Machine) -> None:
    """A CircleCI job, each of whose steps has a shell of its own, installs Keybroker and makes a call."""
    machine.as_image()
    job = read("circleci.yml")["jobs"]["evaluate"]
    machine.tool("circleci", 'run oidc get --claims {"aud": "keybroker"}', running.mint("71002"))
    assert job["steps"][0] == "checkout"
    shells = [step["run"] for step in job["steps"][1:]]
    code, said = machine.run(shells, job["environment"], CIRCLECI="true")
    assert (code, said.splitlines()[-1]) == (0, "answered: True"), said


def uploaded(command: str, environment: Mapping[str, str]) -> str:
    """What `buildkite-agent pipeline upload` makes of a command: variables of the upload filled in, `$$` as `$`."""
    parts = command.split("$$")
    return "$".join(re.sub(r"\$\{?(\w+)\}?", lambda found: environment.get(found[1], ""), one) for one in parts)


@pytest.mark.slow
def test_a_buildkite_step_makes_a_call(running: Running, machine: Machine) -> None:
    """A Buildkite step runs in its own environment: on a machine with python3 and the agent, and nothing else."""
    [step] = read("buildkite.yml")["steps"]
    expected = "oidc request-token --audience keybroker --claim organization_id,pipeline_id"
    machine.tool("buildkite-agent", expected, running.mint("71003"))
    one_shell = "\n".join(uploaded(one, {}) for one in step["commands"])
    code, said = machine.run([one_shell], step["env"], BUILDKITE="true")
    assert (code, said.splitlines()[-1]) == (0, "answered: True"), said
    assert (machine.checkout / ".venv" / "bin" / "keybroker").exists()


@pytest.mark.slow
def test_a_bitbucket_step_makes_a_call(running: Running, machine: Machine) -> None:
    """A Bitbucket step installs Keybroker and makes a call; its program gets no identity token."""
    machine.as_image()
    [one] = read("bitbucket.yml")["pipelines"]["default"]
    assert one["step"]["oidc"] is True
    looks = "import os\nprint('sees', sorted(name for name in os.environ if 'ID_TOKEN' in name or 'OIDC' in name))\n"
    (machine.checkout / "eval.py").write_text(looks + EVAL)
    exports = (
        line.removeprefix("export ").partition("=") for line in one["step"]["script"] if line.startswith("export ")
    )
    variables = {name: value for name, _, value in exports}
    one_shell = "\n".join(line for line in one["step"]["script"] if not line.startswith("export "))
    code, said = machine.run([one_shell], variables, BITBUCKET_STEP_OIDC_TOKEN=running.mint("71004"))
    assert (code, said.splitlines()[-1]) == (0, "answered: True"), said
    assert "sees []" in said


@pytest.mark.slow
def test_a_source_that_is_not_set_installs_nothing(machine: Machine) -> None:
    """Where the source is not set, pip refuses the line; it asks no index for a package of that name."""
    machine.as_image()
    variables = read("circleci.yml")["jobs"]["evaluate"]["environment"]
    asking = {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": "http://127.0.0.1:1/simple"}
    code, said = machine.run([f"unset KEYBROKER_SOURCE\n{offline_pip.LINE}"], variables, **asking)
    assert code == 1
    assert "Invalid requirement" in said
    assert "127.0.0.1" not in said


@pytest.mark.slow
def test_a_job_whose_identity_is_missing_is_told_what_to_add(machine: Machine) -> None:
    machine.as_image()
    job = read("gitlab.yml")[".keybroker"]
    code, said = machine.run(["\n".join(job["before_script"])], gitlab_variables(job), GITLAB_CI="true")
    assert code == 4
    assert "KEYBROKER_ID_TOKEN is not set" in said


@pytest.fixture(scope="module")
def manifests() -> list[Any]:
    return list(yaml.safe_load_all((CI / "kubernetes.yaml").read_text()))


def test_the_manifests_are_kubernetes_own(manifests: list[Any]) -> None:
    for one in manifests:
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)


def test_projected_token_path_and_audience(manifests: list[Any]) -> None:
    """The projected token is mounted where the library looks for it, and has the default audience."""
    pod = manifests[1]["spec"]["template"]["spec"]
    [volume] = pod["volumes"]
    [source] = volume["projected"]["sources"]
    [mount] = pod["containers"][0]["volumeMounts"]
    assert (mount["name"], mount["readOnly"]) == (volume["name"], True)
    assert f"{mount['mountPath']}/{source['serviceAccountToken']['path']}" == kubernetes.PATH
    assert source["serviceAccountToken"]["audience"] == ambient.DEFAULT_AUDIENCE
    assert pod["serviceAccountName"] == manifests[0]["metadata"]["name"]
    assert pod["automountServiceAccountToken"] is False
