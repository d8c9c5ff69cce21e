"""docs/for-your-team.md: what a developer is told to type works, in one shell, against a running broker."""

from __future__ import annotations

import os
import re
import subprocess
import textwrap
from pathlib import Path

import pytest

from tests.keybroker.cli.keybroker_command import job
from tests.running import ROOT, Running

PAGE = (ROOT / "docs" / "for-your-team.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^( *)```(bash|python)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
BROKER = "https://keybroker.example.com"


def script(broker: str) -> str:
    """Return everything that the page tells its reader to type, including its files."""
    lines = ["set -e"]
    for _, kind, indented in FENCE.findall(PAGE):
        text = textwrap.dedent(indented).replace(BROKER, broker)
        lines.append(f"cat > {text.split()[1]} <<'END'\n{text}END" if kind == "python" else text.strip())
    return "\n".join(lines)


def test_commands_are_there() -> None:
    """The page has a service, a CI job and a leak, each with its command."""
    told = script(BROKER)
    for one in ("doctor --key", "exec --key openai --proxy", "TokenProvider", "setup github", "doctor --history"):
        assert one in told


@pytest.mark.slow
def test_page_works_to_the_letter(running: Running, tmp_path: Path) -> None:
    """Followed from top to bottom as a job, both programs answer, a workflow is written, and a key that was left is found."""
    environ = {name: value for name, value in job(running).items() if name != "KEYBROKER_URL"}
    leaked = f"export OPENAI_API_KEY=sk-{0:020}T3BlbkFJ{0:020}\n"
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    commands = script(running.broker).replace(
        "keybroker doctor --history", f"printf {leaked.strip()!r} > .env; keybroker doctor --history"
    )
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", commands],
        cwd=tmp_path,
        env={
            **environ,
            "PATH": path,
            "HOME": str(tmp_path),
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_GCE_CHECK": "true",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("answered: True") == 2
    assert (tmp_path / ".github" / "workflows" / "keybroker.yml").exists()
    assert "found something: see above" in done.stdout
    assert "Traceback" not in done.stderr, done.stderr
