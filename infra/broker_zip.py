"""The broker's zip: what Chalice packages, without unused files, byte-compiled and reproducible."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from infra import lock, reviewed, sbom
from infra.edge import botocore_data
from infra.edge.contents import byte_compile
from infra.edge.dependencies import ROOT
from infra.edge.reproducible_zip import write_zip
from infra.edge.wheels import PYTHON, download

SERVICES = ("dynamodb", "firehose", "kms", "lambda", "s3", "secretsmanager", "sts")
"""The AWS services that the broker and the functions in its zip call."""
DOORS = ("public", "admin")
_SHIPPED = ("app.py", "requirements.txt", "chalicelib", ".chalice", "infra")
"""What Chalice reads: the code that it ships, its configuration, and the templates that it merges."""
_CHALICE = "from chalice import cli; cli.main()"


def build(out: Path, wheels: Path) -> None:
    """Write `out/<door>/sam.yaml` and the zip beside it, for both doors. wheels: the folder for downloaded wheels.

    Raises ValueError for a file in the zip that was not reviewed, and RuntimeError if Chalice or pip fails.
    """
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "project"
        _copy(copy)
        checked = Path(name) / "wheels"
        collect(wheels / PYTHON, checked, lock.current())
        environment = _environment(checked)
        for door in DOORS:
            shutil.rmtree(out / door, ignore_errors=True)
            command = [sys.executable, "-c", _CHALICE, "package", "--stage", door]
            command += ["--merge-template", f"infra/{door}.yaml", str((out / door).resolve())]
            done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=900)  # noqa: S603, PLW1510  Chalice; its output goes into the error
            if done.returncode:
                raise RuntimeError(f"chalice package --stage {door}:\n{done.stdout}{done.stderr}")
            (out / door / "sam.json").unlink(missing_ok=True)  # Chalice's own template, before the merge
            reviewed.check(out / door / "deployment.zip", checked, copy)
            _repack(out / door / "deployment.zip")
            sbom.write(out / door / "deployment.zip")


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


def _environment(checked: Path) -> Mapping[str, str]:
    """Return the environment for pip inside Chalice: it asks no index, and installs from a folder of checked wheels."""
    settings = {
        "PIP_FIND_LINKS": str(checked.resolve()),
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),  # Chalice requires one; it is not used
    }
    return {**os.environ, **settings}


def collect(folder: Path, checked: Path, locks: Mapping[str, lock.Locked]) -> None:
    """Copy the locked wheels from a folder into a new one; pip downloads those that are missing.

    Raises ValueError if a wheel is not a locked file, and RuntimeError if pip downloads none.
    """
    missing = {name: one for name, one in locks.items() if not lock.wheels_of(folder, name, one.version)}
    if missing:
        download(folder, missing)
    checked.mkdir()
    for name, one in locks.items():
        for wheel in lock.wheels_of(folder, name, one.version):
            (checked / wheel.name).write_bytes(lock.verified(wheel, one))


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
