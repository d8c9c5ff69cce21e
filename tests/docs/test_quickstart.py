"""docs/quickstart.md, followed to the letter: a virtual environment of its own, the wheel, one shell from top to bottom.

The addresses and the state directory are those of a running Keybroker; packages come from this machine, since tests are
offline.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from local.practice import policy as practice
from tests.running import ROOT, start

PAGE = ROOT / "docs" / "quickstart.md"
FENCE = re.compile(r"^```(bash|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN_STATE = "/path/to/keybroker-x1y2z3"


def blocks() -> list[tuple[str, str]]:
    """Return the page's blocks after the one that starts Keybroker: kind and text."""
    return FENCE.findall(PAGE.read_text("utf-8"))[1:]


def script() -> str:
    """Return everything the page tells its reader to type, including its files."""
    lines = []
    for kind, text in blocks():
        if kind == "python":
            name = text.split()[1]
            lines.append(f"cat > {name} <<'END'\n{text}END\n")
        elif kind == "bash":
            lines.append(text)
    return "set -e\n" + "".join(lines)


def packages(directory: Path) -> Path:
    """Return a directory with everything installed here except Keybroker itself."""
    directory.mkdir()
    for one in Path(sysconfig.get_path("purelib")).iterdir():
        if "keybroker" not in one.name and one.suffix != ".pth":
            (directory / one.name).symlink_to(one)
    return directory


PYTHON = """#!/bin/sh
[ "$2" = venv ] || exec "{python}" "$@"
"{python}" -m venv --without-pip "$3" || exit
echo "{packages}" > "$3/lib/python{version}/site-packages/here.pth"
printf '#!/bin/sh\\nexec "%s/bin/python" -m pip "$@"\\n' "$PWD/$3" > "$3/bin/pip"
chmod +x "$3/bin/pip"
"""
"""The real python3, except that its virtual environments have this machine's packages, pip too: ensurepip takes seconds."""


def write_python(tools: Path, there: Path) -> None:
    """Write such a python3 into a folder. there: the packages."""
    python = tools / "python3"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    python.write_text(PYTHON.format(python=sys.executable, packages=there, version=version))
    python.chmod(0o755)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return directory


@pytest.mark.slow
def test_page_works_to_the_letter(wheel: Path, tmp_path: Path) -> None:
    """The page works when followed to the letter, in one shell, and prints what it shows."""
    tools, work = tmp_path / "tools", tmp_path / "work"
    tools.mkdir()
    work.mkdir()
    write_python(tools, packages(tmp_path / "packages"))
    with start(policy=practice.POLICY) as running:
        text = script().replace(SHOWN_STATE, str(running.state))
        for number, url in enumerate((running.broker, running.edge, running.provider, running.issuer)):
            text = text.replace(f"http://127.0.0.1:{8080 + number}", url)
        environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "HOME": str(work),
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_GCE_CHECK": "true",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheel),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        done = subprocess.run(
            ["bash", "-c", text], cwd=work, env=environment, capture_output=True, text=True, timeout=200, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    shown = [line for kind, block in blocks() if kind == "text" for line in block.splitlines()]
    assert [line for line in done.stdout.splitlines() if line in shown] == shown, done.stdout + done.stderr
    assert (work / "venv" / "bin" / "keybroker").exists()
