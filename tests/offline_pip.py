"""A python3 and a pip for tests that follow pages and CI snippets to the letter, offline.

pip is the real one. Packages come from this machine, except Keybroker itself, which each environment has to install.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from tests.running import ROOT

LINE = 'pip install "keybroker[cli] @ $KEYBROKER_SOURCE"'
"""The one line that installs Keybroker, wherever it stands."""
SERVER = LINE.replace("[cli]", "[server]")
"""The same on a machine that serves."""
ENVIRON: Mapping[str, str] = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this one the wrong way round: hatchling is here, and no index to fetch it from
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_CACHE_DIR": "1",
}
_PYTHON = """#!/bin/sh
[ "$2" = venv ] || exec "{python}" "$@"
"{python}" -m venv --without-pip "$3" || exit
case "$3" in /*) made="$3" ;; *) made="$PWD/$3" ;; esac
echo "{packages}" > "$made/lib/python{version}/site-packages/here.pth"
printf '#!/bin/sh\\nexec "%s/bin/python" -m pip "$@"\\n' "$made" > "$made/bin/pip"
chmod +x "$made/bin/pip"
"""
"""The real python3, except that its virtual environments have this machine's packages, pip too: ensurepip takes seconds."""


def write_python(tools: Path, there: Path) -> Path:
    """Write such a python3 into a folder and return it. there: a new folder for the packages."""
    python = tools / "python3"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    python.write_text(_PYTHON.format(python=sys.executable, packages=_packages(there), version=version))
    python.chmod(0o755)
    return python


def _packages(directory: Path) -> Path:
    """Return a directory with everything installed here except Keybroker itself."""
    directory.mkdir()
    for one in Path(sysconfig.get_path("purelib")).iterdir():
        if "keybroker" not in one.name and one.suffix != ".pth":
            (directory / one.name).symlink_to(one)
    return directory


def build_wheel(directory: Path) -> Path:
    """Build the wheel and return its path."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = directory.glob("*.whl")
    return wheel
