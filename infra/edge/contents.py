"""The contents of the edge's zip: our files, third-party modules, the baked configuration, all byte-compiled."""

from __future__ import annotations

import importlib.metadata
import io
import subprocess
import sys
import zipfile
from pathlib import Path

from chalicelib.aws.config import EDGE_FILE
from chalicelib.aws.endpoints import ROOTS_FILE
from infra import lock
from infra.edge import authorities
from infra.edge.dependencies import ROOT, find_dependencies
from infra.edge.wheels import PYTHON, wheels

START = Path(__file__).parent / "start.py"
_METADATA = ("METADATA", "WHEEL")
"""Files of a distribution's metadata that are kept: its name and version, for scanners, and its platform."""
_UNUSED = (".pyi", "py.typed", "/")
"""Type information, and directories."""
# Unchecked, since the unpacked files are read-only: comparing each with its source would take time at each cold start.
# The compiled-in path is Lambda's, wherever this is built.
_COMPILE = """
import pathlib, py_compile, sys
folder = pathlib.Path(sys.argv[1])
for source in sorted(folder.rglob("*.py")):
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(source, dfile=f"/var/task/{source.relative_to(folder)}", doraise=True, invalidation_mode=mode)
"""


def write_contents(folder: Path, baked: str, wheels_folder: Path) -> None:
    """Fill an empty folder. baked: the text of keybroker-edge.json. wheels_folder: where downloaded wheels are kept."""
    dependencies = find_dependencies()
    for file in dependencies.own_files:
        _write(folder / file, (ROOT / file).read_bytes())
    _write(folder / START.name, START.read_bytes())
    _write(folder / EDGE_FILE, baked.encode())
    locks = lock.current()
    for name, wheel in wheels(dependencies.versions, wheels_folder / PYTHON, locks).items():
        _unpack(wheel, folder, {top for top, one in dependencies.distributions.items() if one == name})
    version = {"botocore": importlib.metadata.version("botocore")}
    (botocore,) = wheels(version, wheels_folder / PYTHON, locks).values()
    with zipfile.ZipFile(io.BytesIO(botocore)) as packed:
        _write(folder / ROOTS_FILE, authorities.of_amazon(packed.read("botocore/cacert.pem").decode()).encode())
    _unpack(botocore, folder, set())  # its name and version, for scanners
    byte_compile(folder)


def byte_compile(folder: Path) -> None:
    """Compile every module in a folder, reproducibly."""
    command = [sys.executable, "-P", "-S", "-c", _COMPILE, str(folder)]
    subprocess.run(command, check=True, timeout=300, env={"PYTHONHASHSEED": "0"})  # noqa: S603  our own program


def _unpack(wheel: bytes, folder: Path, tops: set[str]) -> None:
    """Extract a wheel's imported top-level modules, and its metadata."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as packed:
        names = [name for name in packed.namelist() if not name.endswith(_UNUSED)]
        for name in names:
            top, _, file = name.partition("/")
            if top.partition(".")[0] in tops or (top.endswith(".dist-info") and file in _METADATA):
                _write(folder / name, packed.read(name))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
