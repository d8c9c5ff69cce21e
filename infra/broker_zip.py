"""The broker's zip: what Chalice packages, without what is never read, byte-compiled, and the same whenever it is made."""

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

from infra.edge import archive, botocore_data, folder
from infra.edge.imported import ROOT
from infra.edge.wheels import PYTHON, platforms

SERVICES = ("dynamodb", "kms", "secretsmanager")
"""Whose clients the broker makes."""
DOORS = ("public", "admin")
_SHIPPED = ("app.py", "requirements.txt", "chalicelib", ".chalice", "infra")
"""What Chalice reads: what it ships, what it is told, and the templates that it merges."""
_CHALICE = "from chalice import cli; cli.main()"


def build(out: Path, wheels: Path) -> None:
    """Write `out/<door>/sam.yaml` and the zip beside it, for both doors. wheels: the folder in which wheels are kept."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "project"
        _copy(copy)
        environment = _environment(Path(name), wheels)
        _fetch(copy, wheels, environment)
        environment = {**environment, "PIP_NO_INDEX": "1"}
        for door in DOORS:
            shutil.rmtree(out / door, ignore_errors=True)
            command = [sys.executable, "-c", _CHALICE, "package", "--stage", door]
            command += ["--merge-template", f"infra/{door}.yaml", str((out / door).resolve())]
            done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=900)  # noqa: S603, PLW1510  Chalice, and what it says is shown
            if done.returncode:
                raise RuntimeError(f"chalice package --stage {door}:\n{done.stdout}{done.stderr}")
            (out / door / "sam.json").unlink(missing_ok=True)  # an earlier Chalice's, before the merge
            _repack(out / door / "deployment.zip")


def _copy(copy: Path) -> None:
    """Copy what is packaged, so that nothing that lies about here gets into the zip, and nothing of Chalice's here."""
    copy.mkdir()
    for name in _SHIPPED:
        without = shutil.ignore_patterns("__pycache__", "deployments", "deployed")
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, copy / name, ignore=without)
        else:
            shutil.copy(place, copy)


def _environment(directory: Path, wheels: Path) -> Mapping[str, str]:
    """Return what pip, by itself and inside Chalice, is told: the versions that are installed here, from that folder."""
    pins = sorted(
        {f"{one.name}=={one.version}" for one in importlib.metadata.distributions() if one.name != "keybroker"}
    )
    (directory / "pins.txt").write_text("\n".join(pins))
    told = {
        "PIP_CONSTRAINT": str(directory / "pins.txt"),
        "PIP_FIND_LINKS": str((wheels / PYTHON).resolve()),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),  # Chalice wants one; it goes nowhere
    }
    return {**os.environ, **told}


def _fetch(copy: Path, wheels: Path, environment: Mapping[str, str]) -> None:
    """Have all wheels in the folder; asks an index only if some are missing."""
    (wheels / PYTHON).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--requirement", str(copy / "requirements.txt")]
    command += ["--dest", str(wheels / PYTHON), "--only-binary", ":all:", "--implementation", "cp"]
    command += ["--python-version", PYTHON]
    for platform in platforms(sys.version_info.minor):
        command += ["--platform", platform]
    offline = subprocess.run([*command, "--no-index"], env=environment, capture_output=True, timeout=300)  # noqa: S603, PLW1510  pip; if it fails, the next line
    if offline.returncode:
        subprocess.run(command, env=environment, check=True, timeout=600)  # noqa: S603  pip


def _repack(package: Path) -> None:
    """Take out of a zip what the broker never reads, compile the rest, and pack it the same way every time."""
    with tempfile.TemporaryDirectory() as name:
        content = Path(name)
        with zipfile.ZipFile(package) as packed:
            names = [one for one in packed.namelist() if not one.endswith(("/", ".pyc", ".pyi"))]
            kept = botocore_data.keep(names, SERVICES)
            packed.extractall(content, sorted(kept))  # members are Chalice's own, from wheels with hashes
        endpoints = content / botocore_data.ENDPOINTS
        endpoints.write_bytes(botocore_data.shorten(endpoints.read_bytes(), SERVICES))
        folder.byte_compile(content)
        archive.pack(content, package)
