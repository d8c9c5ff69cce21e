"""docs/quickstart.md, followed to the letter: a virtual environment of its own, one shell from top to bottom.

The addresses, the state directory and the clone are those of this machine. The line that installs Keybroker is run as it
stands, by the real pip; packages come from this machine, since tests are offline.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from local.practice import policy as practice
from tests import offline_pip
from tests.running import ROOT, start

PAGE = ROOT / "docs" / "quickstart.md"
FENCE = re.compile(r"^```(bash|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN_STATE = "/path/to/keybroker-x1y2z3"
SHOWN_CLONE = "/path/to/clone"


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


def test_it_installs_by_the_one_line() -> None:
    """The page installs Keybroker by the line that every page has."""
    assert [line for line in script().splitlines() if "install" in line] == [offline_pip.LINE, "pip install openai"]


@pytest.mark.slow
def test_page_works_to_the_letter(tmp_path: Path) -> None:
    """The page works when followed to the letter, in one shell, and prints what it shows."""
    tools, work = tmp_path / "tools", tmp_path / "work"
    tools.mkdir()
    work.mkdir()
    offline_pip.write_python(tools, tmp_path / "packages")
    with start(policy=practice.POLICY) as running:
        text = script().replace(SHOWN_STATE, str(running.state)).replace(SHOWN_CLONE, str(ROOT))
        for number, url in enumerate((running.broker, running.edge, running.provider, running.issuer)):
            text = text.replace(f"http://127.0.0.1:{8080 + number}", url)
        environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "HOME": str(work),
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_GCE_CHECK": "true",
            **offline_pip.ENVIRON,
        }
        done = subprocess.run(
            ["bash", "-c", text], cwd=work, env=environment, capture_output=True, text=True, timeout=200, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    shown = [line for kind, block in blocks() if kind == "text" for line in block.splitlines()]
    assert [line for line in done.stdout.splitlines() if line in shown] == shown, done.stdout + done.stderr
    assert (work / "venv" / "bin" / "keybroker").exists()
