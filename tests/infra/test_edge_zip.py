"""The edge function's zip: what is in it and what is not, that it is the same each time, and that it runs by itself."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import botocore
import pytest

from infra.edge import __main__ as command
from infra.edge import authorities, wheels
from infra.edge.dependencies import ROOT, reachable
from tests import pip_index

pytestmark = pytest.mark.slow  # it is built, with all its wheels

BAKED = {
    "region": "eu-central-1",
    "control": "keybroker-control",
    "counters": "keybroker-counters",
    "secrets_region": "eu-central-1",
    "secrets_prefix": "keybroker",
    "issuer": "https://broker.example.com",
    "edge_url": "https://keys.example.com",
}
NEVER = """botocore urllib3 jmespath dateutil six aws_lambda_powertools boto3 chalice aiohttp yaml msgspec certifi s3transfer requests local keybroker tests
infra""".split()  # noqa: SIM905  a list of words
MADE = re.compile(
    r"(?P<path>\S+): (?P<size>[\d,]+) bytes, \d+ files, for Lambda's python3\.\d+\nsha256 (?P<sha>\w{64})\n"
)


def build(folder: Path, archive: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Build a zip of the project in a folder, as `make edge` does."""
    run = [sys.executable, "-m", "infra.edge", str(archive), "--wheels", str(command.WHEELS), *arguments]
    done = subprocess.run(run, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if "pip" in done.stderr and done.returncode:
        pip_index.skip_or_fail(done.stderr)
    done.stderr = re.sub(
        r"WARNING: Location .* is ignored: .*\n", "", done.stderr
    )  # of the machine's own configuration
    return done


def run(task: Path, program: str, **environment: str) -> Any:  # noqa: ANN401  what the program prints, as JSON
    """Run a program with nothing but an unpacked zip and the standard library."""
    found = subprocess.run(
        [sys.executable, "-S", "-P", "-B", "-c", program],
        env={"PYTHONPATH": str(task), "PATH": os.defpath, **environment},
        cwd=task,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip with a real file baked in."""
    folder = tmp_path_factory.mktemp("packed")
    (folder / "baked.json").write_text(json.dumps(BAKED))
    done = build(ROOT, folder / "edge.zip", "--config", str(folder / "baked.json"))
    assert (done.returncode, done.stderr) == (0, "")
    assert MADE.fullmatch(done.stdout), done.stdout
    return folder / "edge.zip"


@pytest.fixture(scope="module")
def content(packed: Path) -> Mapping[str, zipfile.ZipInfo]:
    """What is in it, by name."""
    with zipfile.ZipFile(packed) as one:
        return {entry.filename: entry for entry in one.infolist()}


@pytest.fixture(scope="module")
def task(packed: Path) -> Iterator[Path]:
    """Its content, unpacked where nobody can write."""
    folder = packed.parent / "task"
    with zipfile.ZipFile(packed) as one:
        one.extractall(folder)
    everything = [folder, *folder.rglob("*")]
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    for path in everything:
        path.chmod(0o755 if path.is_dir() else 0o644)


# What is in it


def test_it_is_small_and_made_of_plain_files(packed: Path, content: Mapping[str, zipfile.ZipInfo]) -> None:
    assert packed.stat().st_size < 10 * 1024 * 1024
    for entry in content.values():
        assert stat.S_IMODE(entry.external_attr >> 16) == 0o644
        assert entry.date_time == (1980, 1, 1, 0, 0, 0)
    assert list(content) == sorted(content, key=lambda name: name.split("/"))


def test_own_files_are_those_imported(content: Mapping[str, zipfile.ZipInfo]) -> None:
    """Of this repository, the zip has exactly the files that the edge can import, at its start or late."""
    ours = {name for name in content if name.startswith("chalicelib/") and name.endswith(".py")}
    assert {"chalicelib/edge/admission.py", "chalicelib/aws/config.py", "chalicelib/aws/edge_state.py"} <= ours
    assert "chalicelib/models/selection.py" in ours, "imported late"
    rooms = r"admin/|exchange/|http/|openapi/|issuers/(fetch|jwks)|audit\.|usage\."
    modules = (
        r"policy/(compile|explain|lint|plan|reader|schema|yaml)|aws/(audit|control|jwks|ledger|policies|rev|usage)"
    )
    assert [name for name in ours if re.match(rf"chalicelib/({rooms}|{modules}|tokens/signer)", name)] == []
    assert {name for name in content if "/" not in name and not name.startswith("_cffi")} == {
        *("edge.py", "start.py", "keybroker-edge.json", "cacert.pem")
    }


def test_third_party_files_are_those_imported(content: Mapping[str, zipfile.ZipInfo]) -> None:
    """Of third parties, the zip has exactly the modules that the edge imports."""
    tops = {re.split(r"[/.]", name)[0] for name in content if ".dist-info/" not in name}
    assert tops - {"edge", "start", "keybroker-edge", "cacert", "chalicelib", "__pycache__"} == {
        *("jwt", "cryptography", "_cffi_backend")
    }
    assert not tops & set(NEVER)
    assert [name for name in content if name.endswith((".pyi", "/py.typed"))] == []


def test_of_botocore_it_holds_amazon_s_roots_alone(packed: Path) -> None:
    """The certificate authorities are Amazon's, as the botocore that is installed has them."""
    with zipfile.ZipFile(packed) as one:
        text = one.read("cacert.pem").decode()
    assert text == authorities.of_amazon(Path(botocore.__file__).with_name("cacert.pem").read_text("utf-8"))


def test_versions_are_those_installed(packed: Path, content: Mapping[str, zipfile.ZipInfo]) -> None:
    """The zip has the metadata of the installed versions."""
    told = {}
    with zipfile.ZipFile(packed) as one:
        for text in (one.read(name).decode() for name in content if name.endswith(".dist-info/METADATA")):
            fields = dict(re.findall(r"^(Name|Version): (\S+)$", text, re.MULTILINE))
            told[fields["Name"]] = fields["Version"]
    assert told == {name: importlib.metadata.version(name) for name in told}
    assert {"PyJWT", "cryptography"} <= told.keys()


def test_extensions_load_on_lambda(packed: Path, content: Mapping[str, zipfile.ZipInfo]) -> None:
    """Compiled extensions need no newer glibc than Lambda's runtime has."""
    minor = sys.version_info.minor
    with zipfile.ZipFile(packed) as one:
        texts = {name: one.read(name).decode() for name in content if name.endswith(".dist-info/WHEEL")}
    tags = {name: re.findall(r"^Tag: (\S+)-(\S+)-(\S+)$", text, re.MULTILINE) for name, text in texts.items()}
    assert sum(all(platform != "any" for *_, platform in found) for found in tags.values()) == 2  # cryptography, cffi
    for name, found in tags.items():
        assert any(_fits(python, abi, platform, minor) for python, abi, platform in found), (name, found)
    libraries = [name for name in content if name.endswith(".so")]
    assert libraries
    assert all(re.search(rf"cpython-3{minor}-x86_64-linux-gnu\.so|abi3\.so", name) for name in libraries), libraries


def _fits(python: str, abi: str, platform: str, minor: int) -> bool:
    if platform == "any":
        return python in ("py3", "py2.py3", f"cp3{minor}")
    oldest = int(python.removeprefix("cp3"))
    stable = abi == "abi3" and oldest <= minor
    return (stable or (oldest == minor and abi == f"cp3{minor}")) and platform in wheels.platforms(minor)


# How it is compiled


def test_every_source_is_compiled_unchecked(packed: Path, content: Mapping[str, zipfile.ZipInfo]) -> None:
    """Every module is compiled, and Python does not check it against its source."""
    sources = [name for name in content if name.endswith(".py")]
    with zipfile.ZipFile(packed) as one:
        for name in sources:
            compiled = one.read(importlib.util.cache_from_source(name))
            assert compiled[:4] == importlib.util.MAGIC_NUMBER
            assert int.from_bytes(compiled[4:8], "little") == 0b01, f"{name} is not `unchecked-hash`"
            assert f"/var/task/{name}".encode() in compiled


def test_what_is_compiled_is_what_runs(packed: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(packed) as one:
        one.extractall(tmp_path)
    for source in tmp_path.rglob("*.py"):
        source.write_text("raise SystemExit('the source was read')")
    assert run(tmp_path, "import json, start; print(json.dumps(start.handler.__module__))") == "edge"


# That it runs by itself


def test_all_endpoints_are_known(task: Path) -> None:
    """The client knows its services, each in its baked region, by the certificate authorities in the zip."""
    program = """
import json, ssl, start
from chalicelib.aws import config
found = config.edge_on_aws()[0].state._client._endpoints
tls = [one.place.tls for one in found.values()]
assert all((one.verify_mode, one.check_hostname) == (ssl.CERT_REQUIRED, True) for one in tls)
names = [one.place.host for one in found.values()]
print(json.dumps([names, len(tls[0].get_ca_certs()), open("cacert.pem").read().count("BEGIN CERTIFICATE")]))
"""
    names, loaded, there = run(task, program, AWS_REGION="us-east-1")
    assert names == [f"{one}.eu-central-1.amazonaws.com" for one in ("dynamodb", "kms", "secretsmanager")]
    assert loaded == there == len(authorities.AUTHORITIES)


def test_unpacked_zip_answers_calls(task: Path) -> None:
    """Without a token a call is a 401; without state it is a 503."""
    program = """
import json, start
request = {"uri": "/openai/v1/models", "method": "GET", "clientIp": "192.0.2.1", "headers": {}, "querystring": ""}
request["origin"] = {"custom": {"readTimeout": 60, "keepaliveTimeout": 5}}
event = {"Records": [{"cf": {"config": {"requestId": "r"}, "request": request}}]}
print(json.dumps(start.handler(event, None)["status"]))
"""
    assert run(task, program) == "401"


def test_nothing_is_loaded_but_what_is_in_it(task: Path) -> None:
    program = """
import json, sys, start
from chalicelib.aws import config
config.edge_on_aws()
files = [getattr(one, "__file__", None) or "" for one in sys.modules.values()]
print(json.dumps([one for one in files if "site-packages" in one]))
"""
    assert run(task, program) == []


def test_late_imports_are_in_it(task: Path) -> None:
    """Every module that the zip's own files name anywhere can be imported from it, and none is imported before its time."""
    program = f"""
import importlib, json, sys, start
early = [name for name in {sorted(reachable("edge"))} if name in sys.modules]
for name in {sorted(reachable("edge"))}:
    importlib.import_module(name)
print(json.dumps(early))
"""
    early = run(task, program)
    assert "chalicelib.edge.admission" in early
    assert "chalicelib.models.selection" not in early


def test_garbage_collection_is_on_after_import(task: Path) -> None:
    """Garbage collection is enabled again after the imports."""
    program = "import gc, json, start; print(json.dumps([gc.isenabled(), gc.get_freeze_count() > 10_000]))"
    assert run(task, program) == [True, True]


def test_values_are_tuples_except_secrets(task: Path) -> None:
    """Value classes are named tuples, except those that must not end up in JSON by mistake."""
    # To make a dataclass takes 0.4 ms of a cold start, and to make a NamedTuple a fifth of that (docs/performance.md).
    program = """
import dataclasses, json, sys, start
ours = [one for name, one in sys.modules.items() if name == "edge" or name.startswith("chalicelib.")]
classes = {one for module in ours for one in vars(module).values() if isinstance(one, type) and dataclasses.is_dataclass(one)}
print(json.dumps(sorted(one.__name__ for one in classes)))
"""
    # ProviderKey, too, is no tuple: it is a plain class, which hides its value.
    hold_a_token_or_a_body = {"Call", "CallBody", "Unverified"}
    others = {"Edge", "Limit"}  # an object of its own for each; a member whose name is a method of tuples
    assert set(run(task, program)) == hold_a_token_or_a_body | others


# What is baked in


def test_what_was_given_is_baked_in(packed: Path) -> None:
    with zipfile.ZipFile(packed) as one:
        assert json.loads(one.read("keybroker-edge.json")) == BAKED


def test_zip_without_configuration_warns(tmp_path: Path) -> None:
    """Without a configuration the build warns, and every call is a 503."""
    done = build(ROOT, tmp_path / "edge.zip")
    assert done.returncode == 0
    assert done.stderr.startswith(
        "WARNING: this zip has no configuration: deployed, it responds to every call with 503."
    )
    with zipfile.ZipFile(tmp_path / "edge.zip") as one:
        one.extractall(tmp_path / "task")
    program = """
import json, start
print(json.dumps(start.handler({"Records": [{"cf": {"config": {"requestId": "r"}, "request": {}}}]}, None)["status"]))
"""
    assert run(tmp_path / "task", program) == "503"


# That it is the same each time


def test_zip_is_reproducible(packed: Path, tmp_path: Path) -> None:
    """Built elsewhere at another time, the zip is the same byte for byte."""
    copy = tmp_path / "elsewhere" / "project"
    for name in ("chalicelib", "infra"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("edge.py", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    done = build(copy, tmp_path / "edge.zip", "--config", str(packed.parent / "baked.json"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "edge.zip").read_bytes() == packed.read_bytes()
    made = MADE.fullmatch(done.stdout)
    assert made
    assert made["sha"] == hashlib.sha256(packed.read_bytes()).hexdigest()
