"""Lays out the folder that Lambda@Edge unpacks: our files, third parties', what is baked in, and all byte-compiled."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from chalicelib.aws.config import EDGE_FILE
from infra.edge import botocore_data
from infra.edge.imported import ROOT, imported
from infra.edge.wheels import PYTHON, wheels

START = Path(__file__).parent / "start.py"
_TOLD = ("METADATA", "WHEEL")
"""Of a distribution's own description: its name and version, by which scanners know it, and what it was built for."""
_NEVER = (".pyi", "py.typed", "/")
"""Types, and folders."""
# Unchecked: what is unpacked can't be written to and never changes, and looking at each source would take its time.
# The path that is compiled in is Lambda's, wherever this is built.
_COMPILE = """
import pathlib, py_compile, sys
folder = pathlib.Path(sys.argv[1])
for source in sorted(folder.rglob("*.py")):
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(source, dfile=f"/var/task/{source.relative_to(folder)}", doraise=True, invalidation_mode=mode)
"""


def lay_out(folder: Path, baked: str, cache: Path) -> None:
    """Fill an empty folder. baked: the text of keybroker-edge.json. cache: the folder in which wheels are kept."""
    what = imported()
    for file in what.ours:
        _write(folder / file, (ROOT / file).read_bytes())
    _write(folder / START.name, START.read_bytes())
    _write(folder / EDGE_FILE, baked.encode())
    for name, wheel in wheels(what.pins, cache / PYTHON).items():
        _unpack(wheel, folder, {top for top, one in what.others.items() if one == name})
    byte_compile(folder)


def byte_compile(folder: Path) -> None:
    """Compile all that is in a folder, the same way whenever and wherever it is done."""
    command = [sys.executable, "-P", "-S", "-c", _COMPILE, str(folder)]
    subprocess.run(command, check=True, timeout=300, env={"PYTHONHASHSEED": "0"})  # noqa: S603  our own program


def _unpack(wheel: Path, folder: Path, tops: set[str]) -> None:
    """Take what is imported out of a wheel, by its top-level names, and what the wheel says of itself."""
    with zipfile.ZipFile(wheel) as packed:
        names = [name for name in packed.namelist() if not name.endswith(_NEVER)]
        for name in botocore_data.keep(names) if "botocore" in tops else names:
            top, _, file = name.partition("/")
            if top.partition(".")[0] in tops or (top.endswith(".dist-info") and file in _TOLD):
                content = packed.read(name)
                shortened = botocore_data.shorten(content) if name == botocore_data.ENDPOINTS else content
                _write(folder / name, shortened)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
