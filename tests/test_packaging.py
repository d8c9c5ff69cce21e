"""What users install, what Lambda runs, and what must be in neither."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chalicelib.http import public_routes
from chalicelib.openapi.routes import ADMIN
from tests import pip_index

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROUTES = {
    "public": {one.path for one in public_routes.ROUTES},
    "admin": {one.path for one in ADMIN},
}
IMPORT_ALL = """
import importlib, json, os, pkgutil, sys
sys.path.insert(0, os.getcwd())
import app, chalicelib
for module in pkgutil.walk_packages(chalicelib.__path__, "chalicelib."):
    importlib.import_module(module.name)
event = {"requestContext": {"httpMethod": "GET", "resourcePath": "/healthz", "requestId": "req-1", "identity": {}},
         "multiValueQueryStringParameters": None, "headers": {}, "pathParameters": {}, "body": None,
         "isBase64Encoded": False, "stageVariables": None}
places = sorted({(getattr(one, "__file__", None) or "").removeprefix(os.getcwd())
                 for name, one in sys.modules.items() if name.partition(".")[0] in ("app", "chalicelib", "jwt", "msgspec", "yaml")})
print(json.dumps({"answer": app.app(event, None), "places": places, "routes": sorted(app.app.routes)}))
"""
"""Run in an unpacked package, where nothing else is installed."""


def files() -> list[str]:
    """List what is, or is about to be, committed."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: there is nothing to say about what is committed")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True, timeout=30).stdout.split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


def package(folder: Path, stage: str, requirements: str) -> Path:
    """Run `chalice package` on a copy of the project; return where the template and the zip are."""
    copy, out = folder / "project", folder / stage
    if not copy.exists():
        copy.mkdir()
        for name in ("chalicelib", "local", "keybroker", ".chalice"):
            without = shutil.ignore_patterns("__pycache__", "deployments", "deployed")
            shutil.copytree(ROOT / name, copy / name, ignore=without)
        for name in ("app.py", "edge.py", "pyproject.toml"):
            shutil.copy(ROOT / name, copy)
        shutil.copytree(ROOT / "tests", copy / "tests", ignore=shutil.ignore_patterns("*"))
        (copy / "requirements.txt").write_text(requirements)
    done = subprocess.run(
        [sys.executable, "-c", "from chalice import cli; cli.main()", "package", "--stage", stage, str(out)],
        cwd=copy,
        env={**os.environ, "AWS_DEFAULT_REGION": "us-east-1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode and requirements:
        pip_index.skip_or_fail(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


Templates = Mapping[str, dict[str, Any]]


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """Package both stages without requirements, which takes no network; return their templates by stage."""
    folder = tmp_path_factory.mktemp("package")
    return {stage: json.loads((package(folder, stage, "") / "sam.json").read_text()) for stage in ROUTES}


# What users install


def test_the_client_depends_on_nothing() -> None:
    assert PROJECT["project"]["dependencies"] == []
    for requirement in importlib.metadata.requires("keybroker") or ():
        assert re.search("(; | and )extra == ['\"](aws|broker|cli|console|dev|local|otlp|server)['\"]$", requirement), (
            requirement
        )


def test_the_wheel_holds_one_package(tmp_path: Path) -> None:
    """The wheel is the package `keybroker`, with the server's modules as data in it."""
    shipped = {name: f"keybroker/_server/{name}" for name in ("app.py", "edge.py", "chalicelib", "local")}
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"] == {
        "packages": ["keybroker"],
        "force-include": shipped,
    }
    assert PROJECT["build-system"]["build-backend"] == "hatchling.build"
    if importlib.util.find_spec("hatchling"):
        build = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            str(tmp_path),
        ]
        subprocess.run([*build, str(ROOT)], check=True, capture_output=True, timeout=120)
        (wheel,) = tmp_path.glob("*.whl")
        names = zipfile.ZipFile(wheel).namelist()
        tops = {name.partition("/")[0] for name in names}
        assert "keybroker/_server/__init__.py" not in names  # it is data, and no package
        assert "keybroker/_server/local/__main__.py" in names
        assert tops == {"keybroker", f"keybroker-{PROJECT['project']['version']}.dist-info"}


def test_the_client_says_that_it_is_typed() -> None:
    assert (ROOT / "keybroker" / "py.typed").is_file()


# What Lambda runs


def test_requirements_txt_is_what_the_broker_extra_says() -> None:
    wanted = PROJECT["project"]["optional-dependencies"]["broker"]
    assert (ROOT / "requirements.txt").read_text().splitlines() == wanted, "run `make requirements`"


def test_each_stage_is_one_door_behind_a_regional_address() -> None:
    config = json.loads((ROOT / ".chalice" / "config.json").read_text())
    assert {name: one["environment_variables"] for name, one in config["stages"].items()} == {
        name: {"KEYBROKER_DOOR": name} for name in ROUTES
    }
    assert config["api_gateway_endpoint_type"] == "REGIONAL"
    assert config["autogen_policy"] is False  # what a role may do is written down, not guessed from the code


@pytest.mark.slow
@pytest.mark.parametrize("stage", ROUTES)
def test_a_stages_api_has_its_own_doors_routes_and_no_other(templates: Templates, stage: str) -> None:
    resources = templates[stage]["Resources"]
    paths: dict[str, Any] = resources["RestAPI"]["Properties"]["DefinitionBody"]["paths"]
    assert paths.keys() == ROUTES[stage]
    methods = [(path, name, one) for path, at in paths.items() for name, one in at.items() if name != "options"]
    guarded = {(path, name) for path, name, one in methods if "sigv4" in str(one.get("security"))}
    # SECURITY: every administrators' route has API Gateway's IAM authorizer; of the public ones, that which asks for it.
    every = {(path, name) for path, name, _ in methods}
    assert guarded == (every if stage == "admin" else {("/token/iam", "post")})


@pytest.mark.slow
@pytest.mark.parametrize("stage", ROUTES)
def test_a_stages_template_names_nothing_that_it_does_not_have(templates: Templates, stage: str) -> None:
    text = json.dumps(templates[stage])
    named = re.findall(r'"(?:Ref|Fn::GetAtt)": \[?"([^"]+)"|\$\{(?!AWS::)([A-Za-z]+)', text)
    assert {one or other for one, other in named} <= set(re.findall(r'"(\w+)":', text))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ROUTES)
def test_a_stages_role_can_write_its_own_log_and_nothing_else(templates: Templates, stage: str) -> None:
    resources = templates[stage]["Resources"]
    (role,) = (one["Properties"] for one in resources.values() if one["Type"] == "AWS::IAM::Role")
    statements = [one for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]
    assert {action for one in statements for action in one["Action"]} == {"logs:CreateLogStream", "logs:PutLogEvents"}
    assert resources["APIHandler"]["Properties"]["Environment"] == {"Variables": {"KEYBROKER_DOOR": stage}}


@pytest.mark.slow
def test_lambda_gets_the_broker_and_its_requirements_and_they_work_alone(tmp_path: Path) -> None:
    out = package(tmp_path, "public", (ROOT / "requirements.txt").read_text())
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(out / "deployment.zip") as shipped:
        names = shipped.namelist()
        shipped.extractall(unpacked)
    ours = {name for name in names if name.startswith("chalicelib/")} | {"app.py"}
    assert ours == {"app.py", *(str(path.relative_to(ROOT)) for path in (ROOT / "chalicelib").rglob("*.py"))}
    assert not {name.partition("/")[0] for name in names} & {"local", "tests", "keybroker", "edge.py", "docs", "infra"}
    assert (out / "deployment.zip").stat().st_size < 50 * 1024 * 1024

    alone = [sys.executable, "-I", "-S", "-c", IMPORT_ALL]
    run = subprocess.run(
        alone, cwd=unpacked, env={"KEYBROKER_DOOR": "public"}, capture_output=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr.decode()
    told = json.loads(run.stdout.splitlines()[-1])
    assert told["routes"] == sorted(ROUTES["public"])
    assert all(
        place.startswith(("/app.py", "/chalicelib/", "/jwt/", "/msgspec/", "/yaml/")) for place in told["places"]
    )
    assert told["answer"]["statusCode"] == 503
    assert json.loads(told["answer"]["body"])["error"] == "temporarily_unavailable"


# What is committed


def test_nothing_committed_names_a_place_on_one_machine() -> None:
    machine = re.compile(r"/(work|farm|root)/|(extra-)?index[-_]url")
    passing = re.compile(r"/tmp/|/var/folders/")
    found = [
        f"{name}: {match[0]}"
        for name in files()
        for text in [(ROOT / name).read_text(encoding="utf-8", errors="ignore")]
        for match in (machine.search(text), None if name.startswith("tests/") else passing.search(text))
        if match
    ]
    assert found == []


def test_nothing_committed_is_made_by_a_tool_or_holds_a_private_key() -> None:
    for name in files():
        assert not re.search(
            r"(^|/)(__pycache__|\.venv|dist|\.keybroker|deployments)/|\.(pyc|pem|key|db|whl)$", name
        ), name
        text = (ROOT / name).read_text(encoding="utf-8", errors="ignore")
        assert not re.search(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{60}", text), name
