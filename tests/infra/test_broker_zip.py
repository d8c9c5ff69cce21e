"""The broker's zip and templates as `make package` builds them; needs the wheels, in dist/wheels or from an index."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra import lock, package
from infra.broker_zip import DOORS
from infra.edge.__main__ import WHEELS
from infra.edge.wheels import PYTHON
from tests import cloudformation, pip_index

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Build twice."""
    outs = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    for out in outs:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            code = package.main(["--out", str(out)])
        if code:
            pip_index.skip_or_fail(said.getvalue())
    return outs


def files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_it_is_the_same_byte_for_byte(built: tuple[Path, Path]) -> None:
    one, two = map(files, built)
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


def test_templates_fit_in_a_request(built: tuple[Path, Path]) -> None:
    """Every template is below CloudFormation's limit for one sent in a request; one that goes through a bucket has more."""
    sizes = {name: len(text) for name, text in files(built[0]).items() if name.endswith(".yaml")}
    through_a_bucket = {f"{door}/sam.yaml" for door in DOORS}  # with their zips (infra/aws_cli.py)
    limits = dict.fromkeys(sizes, 51_200) | dict.fromkeys(through_a_bucket, 1_000_000)
    assert {name: size for name, size in sizes.items() if size > limits[name]} == {}


def test_both_doors_run_the_same_code(built: tuple[Path, Path]) -> None:
    found = files(built[0])
    assert found["public/deployment.zip"] == found["admin/deployment.zip"]


def test_zip_matches_the_templates_runtime(built: tuple[Path, Path]) -> None:
    """The zip is built for the runtime that the template names."""
    for door in ("public", "admin"):
        read = cloudformation.read(built[0] / door / "sam.yaml")
        assert read["Resources"]["APIHandler"]["Properties"]["Runtime"] == f"python{PYTHON}"
    edge = cloudformation.read(built[0] / "edge" / "edge.yaml")
    assert edge["Resources"]["Function"]["Properties"]["Runtime"] == f"python{PYTHON}"
    assert len([name for name in edge["Resources"] if re.fullmatch("Version[0-9a-f]{16}", name)]) == 1


def test_what_is_built_is_what_is_tested(built: tuple[Path, Path]) -> None:
    for door in ("public", "admin"):
        assert cloudformation.read(built[0] / door / "sam.yaml") == cloudformation.template(door)


@pytest.mark.parametrize("door", ["public", "admin"])
def test_it_has_all_that_it_needs_in_it(built: tuple[Path, Path], tmp_path: Path, door: str) -> None:
    """Answers from nothing but the zip, with the environment that the template gives it: no AWS, so 503 and no fault."""
    with zipfile.ZipFile(built[0] / door / "deployment.zip") as packed:
        packed.extractall(tmp_path)
    told = cloudformation.resolved(cloudformation.template(door), Url="https://b.example", EdgeUrl="https://e.example")
    variables = {
        name: str(value) for name, value in told["APIHandler"]["Properties"]["Environment"]["Variables"].items()
    }
    path = {"public": "/healthz", "admin": "/admin/policy"}[door]
    event = {
        "requestContext": {"httpMethod": "GET", "resourcePath": path, "requestId": "r", "identity": {"userArn": "arn"}},
        "multiValueQueryStringParameters": None,
        "headers": {},
        "pathParameters": {},
        "body": None,
        "isBase64Encoded": False,
        "stageVariables": None,
    }
    program = f"import json, app; print(json.dumps(app.app({event!r}, None)))"
    aws = {"AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), **aws, **variables, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *lines, answer = map(json.loads, done.stdout.splitlines())
    assert answer["statusCode"] == 503
    assert lines[0]["message"]["reason"] == "state_unavailable"
    assert lines[1]["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Keybroker"


def test_nothing_in_it_is_botocore_s_other_services(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0] / "public" / "deployment.zip") as packed:
        names = packed.namelist()
    services = {name.split("/")[2] for name in names if re.match(r"botocore/data/[^/]+/", name)}
    assert services == {"dynamodb", "firehose", "kms", "lambda", "s3", "secretsmanager", "sts"}
    assert not [name for name in names if name.startswith(("tests/", "local/", "keybroker/", "infra/"))]
    assert sum(name.endswith(".pyc") for name in names) > 300


@pytest.mark.parametrize("artefact", ["public/deployment.zip", "admin/deployment.zip", "edge/edge.zip"])
def test_sbom_lists_what_the_zip_holds(built: tuple[Path, Path], artefact: str) -> None:
    """Beside each zip is the list of all third-party code in it, in the locked versions."""
    listed = json.loads((built[0] / f"{artefact}.cdx.json").read_text())["components"]
    versions = {one["name"]: one["version"] for one in listed}
    locks = lock.current()
    assert versions == {name: locks[name].version for name in versions}
    with zipfile.ZipFile(built[0] / artefact) as packed:
        tops = {
            name.partition("/")[0].partition(".")[0]
            for name in packed.namelist()
            if not re.search(r"\.(dist-info|data)/|^__pycache__/", name)
        }
    ours = {"app", "edge", "start", "chalicelib", "keybroker-edge"}
    known = {
        **importlib.metadata.packages_distributions(),
        "cacert": ["botocore"],
    }  # the edge has that file of it alone
    code = {name for top in tops - ours if top in known for name in known[top]}
    assert {lock.normalized(one) for one in code} == versions.keys()
    assert tops - ours <= known.keys()


def test_no_index_is_asked_once_the_wheels_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    if not list((WHEELS / PYTHON).glob("aws_lambda_powertools-*.whl")):
        pytest.skip("the wheels are not there yet: make package")
    assert package.main(["--out", str(tmp_path)]) == 0
