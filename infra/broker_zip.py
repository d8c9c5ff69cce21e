"""The broker's zip: what Chalice packages, without unused files, byte-compiled and reproducible."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from infra.edge import botocore_data
from infra.edge.contents import byte_compile
from infra.edge.dependencies import ROOT
from infra.edge.reproducible_zip import write_zip
from infra.edge.wheels import PYTHON, platforms

SERVICES = ("dynamodb", "kms", "secretsmanager")
"""The AWS services that the broker calls."""
DOORS = ("public", "admin")
_SHIPPED = ("app.py", "requirements.txt", "chalicelib", ".chalice", "infra")
"""What Chalice reads: the code that it ships, its configuration, and the templates that it merges."""
_CHALICE = "from chalice import cli; cli.main()"


def build(out: Path, wheels: Path) -> None:
    """Write `out/<door>/sam.yaml` and the zip beside it, for both doors. wheels: the folder for downloaded wheels."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "project"
        _copy(copy)
        environment = _environment(Path(name), wheels)
        _download(copy, wheels, environment)
        environment = {**environment, "PIP_NO_INDEX": "1"}
        for door in DOORS:
            shutil.rmtree(out / door, ignore_errors=True)
            command = [sys.executable, "-c", _CHALICE, "package", "--stage", door]
            command += ["--merge-template", f"infra/{door}.yaml", str((out / door).resolve())]
            done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=900)  # noqa: S603, PLW1510  Chalice; its output goes into the error
            if done.returncode:
                raise RuntimeError(f"chalice package --stage {door}:\n{done.stdout}{done.stderr}")
            (out / door / "sam.json").unlink(missing_ok=True)  # Chalice's own template, before the merge
            _repack(out / door / "deployment.zip")


def _copy(copy: Path) -> None:
    """Copy what is packaged, so that no stray file gets into the zip, and Chalice leaves no files in the source."""
    copy.mkdir()
    for name in _SHIPPED:
        ignored = shutil.ignore_patterns("__pycache__", "deployments", "deployed")
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=ignored)
        else:
            shutil.copy(source, copy)


def _environment(directory: Path, wheels: Path) -> Mapping[str, str]:
    """Return the environment for pip, by itself and inside Chalice: it installs the versions installed here, from that folder."""
    pins = sorted(
        {f"{one.name}=={one.version}" for one in importlib.metadata.distributions() if one.name != "keybroker"}
    )
    (directory / "pins.txt").write_text("\n".join(pins))
    settings = {
        "PIP_CONSTRAINT": str(directory / "pins.txt"),
        "PIP_FIND_LINKS": str((wheels / PYTHON).resolve()),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),  # Chalice requires one; it is not used
    }
    return {**os.environ, **settings}


def _download(copy: Path, wheels: Path, environment: Mapping[str, str]) -> None:
    """Download the wheels into the folder; asks the index only if some are missing."""
    (wheels / PYTHON).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--requirement", str(copy / "requirements.txt")]
    command += ["--dest", str(wheels / PYTHON), "--only-binary", ":all:", "--implementation", "cp"]
    command += ["--python-version", PYTHON]
    for platform in platforms(sys.version_info.minor):
        command += ["--platform", platform]
    offline = subprocess.run([*command, "--no-index"], env=environment, capture_output=True, timeout=300)  # noqa: S603, PLW1510  pip; if it fails, the next line runs
    if offline.returncode:
        subprocess.run(command, env=environment, check=True, timeout=600)  # noqa: S603  pip


def _repack(package: Path) -> None:
    """Remove from a zip what the broker never reads, compile the rest, and write it reproducibly."""
    with tempfile.TemporaryDirectory() as name:
        content = Path(name)
        with zipfile.ZipFile(package) as packed:
            names = [one for one in packed.namelist() if not one.endswith(("/", ".pyc", ".pyi"))]
            kept = botocore_data.select(names, SERVICES)
            packed.extractall(content, sorted(kept))  # the members are Chalice's, not untrusted
        endpoints = content / botocore_data.ENDPOINTS
        endpoints.write_bytes(botocore_data.trim_endpoints(endpoints.read_bytes(), SERVICES))
        byte_compile(content)
        write_zip(content, package)
