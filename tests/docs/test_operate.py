"""docs/operate.md: the procedures for a provider key, typed to the letter in one shell against a running broker."""

from __future__ import annotations

import json
import os
import re
import subprocess
import textwrap
from pathlib import Path

import pytest

from tests.keybroker.cli.keybroker_command import administrator
from tests.running import ROOT, Running

PAGE = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^## Provider keys\n(.*?)^## ", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^( *)```bash\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_a_leaked_key_is_replaced(running: Running, tmp_path: Path) -> None:
    """Followed to the letter, a new value is in force for the next call, and who used the key is shown, but no value."""
    (section,) = SECTION.findall(PAGE)
    commands = "\n".join(["set -e", *(textwrap.dedent(text) for _, text in FENCE.findall(section))])
    token = running.token("8477")
    assert running.complete(token).status == 200
    value = _value(running)
    file = tmp_path / "new-value"
    file.touch(0o600)
    file.write_text(value)
    before = _versions(running)
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", commands],
        cwd=tmp_path,
        env={**administrator(running), "PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert _versions(running).isdisjoint(before)
    assert running.complete(token).status == 200
    for shown in ("in force: openai", "repository_id:8477", "key.set", "token.issued"):
        assert shown in told
    assert (value in told, file.exists()) == (False, False)


def _stored(running: Running) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((running.state / "provider-keys.json").read_text())["openai"]
    return found


def _versions(running: Running) -> set[str]:
    return set(_stored(running))


def _value(running: Running) -> str:
    return next(iter(_stored(running).values()))["value"]
