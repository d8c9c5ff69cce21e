"""The snippets for other CI systems: their own commands, under their variables, against a running Keybroker.

What installs a package, and the CI's own tool, are small programs in their place; `keybroker` is the real one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # has no types
import pytest
import yaml

from keybroker import ambient
from keybroker.sources import gitlab, kubernetes
from tests.running import ROOT, Running

CI = ROOT / "ci"
BIN = Path(sys.executable).parent
EVAL = """\
import openai
said = openai.OpenAI().chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "hello"}])
print("answered:", bool(said.choices[0].message.content))
"""
MAKES_AN_ENVIRONMENT = f"""\
#!/bin/sh
[ "$1 $2" = "-m venv" ] || exit 9
mkdir -p "$3/bin" && ln -s "{BIN}/keybroker" "$3/bin/keybroker" && ln -s "$(command -v pip)" "$3/bin/pip"
"""


def read(name: str) -> Any:  # noqa: ANN401  YAML
    return yaml.safe_load((CI / name).read_text())


def tool(directory: Path, name: str, text: str) -> None:
    path = directory / name
    path.write_text(text)
    path.chmod(0o755)


def run(
    directory: Path, running: Running, commands: Sequence[str], tools: Mapping[str, str], **variables: str
) -> tuple[int, str]:
    """Run a job's commands in one shell, as CI systems do; return its exit code and what it wrote."""
    tools_directory = directory / "tools"
    tools_directory.mkdir()
    for name, text in {"pip": "#!/bin/sh\n", "python": f'#!/bin/sh\nexec {sys.executable} "$@"\n', **tools}.items():
        tool(tools_directory, name, text)
    (directory / "eval.py").write_text(EVAL)
    (tools_directory / "keybroker").symlink_to(BIN / "keybroker")
    environment = {
        "PATH": f"{tools_directory}:{os.environ['PATH']}",
        "HOME": str(directory),
        "AWS_EC2_METADATA_DISABLED": "true",
        **variables,
        "KEYBROKER_URL": running.broker,
    }
    done = subprocess.run(
        ["bash", "-e", "-c", "\n".join(commands)],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=90,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_gitlab_job_that_extends_the_template_makes_a_call(running: Running, tmp_path: Path) -> None:
    job = read("gitlab.yml")[".keybroker"]
    [(variable, wanted)] = job["id_tokens"].items()
    assert variable == gitlab.variable_name(wanted["aud"])
    token = running.mint("71001", aud=wanted["aud"])
    commands = [*job["before_script"], "keybroker exec --key openai -- python eval.py"]
    code, said = run(tmp_path, running, commands, {}, GITLAB_CI="true", **{variable: token})
    assert (code, said.splitlines()[-1]) == (0, "answered: True"), said
    assert token not in said


@pytest.mark.slow
def test_a_circleci_job_makes_a_call(running: Running, tmp_path: Path) -> None:
    steps = read("circleci.yml")["jobs"]["evaluate"]["steps"]
    commands = [step["run"] for step in steps if isinstance(step, dict)]
    token = running.mint("71002")
    prints = f"""#!/bin/sh\n[ "$*" = 'run oidc get --claims {{"aud": "keybroker"}}' ] && echo {token}\n"""
    code, said = run(tmp_path, running, commands, {"circleci": prints}, CIRCLECI="true")
    assert (code, said.splitlines()[-1]) == (0, "answered: True"), said


@pytest.mark.slow
def test_a_buildkite_step_makes_a_call(running: Running, tmp_path: Path) -> None:
    [step] = read("buildkite.yml")["steps"]
    token = running.mint("71003")
    prints = f"""#!/bin/sh\n[ "$*" = 'oidc request-token --audience keybroker' ] && echo {token}\n"""
    tools = {"buildkite-agent": prints, "python3": MAKES_AN_ENVIRONMENT}
    code, said = run(tmp_path, running, step["commands"], tools, BUILDKITE="true")
    assert (code, said.splitlines()[-1]) == (0, "answered: True"), said


def test_a_job_whose_identity_is_missing_is_told_what_to_add(running: Running, tmp_path: Path) -> None:
    job = read("gitlab.yml")[".keybroker"]
    code, said = run(tmp_path, running, job["before_script"], {}, GITLAB_CI="true")
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
