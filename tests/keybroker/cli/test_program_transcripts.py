"""The transcripts: each command is run against a real broker, and must print what the file says.

KEYBROKER_WRITE_TRANSCRIPTS=1 writes the output into the files instead; read the diff before you commit it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.keybroker.cli import transcript
from tests.keybroker.cli.keybroker_command import administrator, job
from tests.login_issuer import CLIENT, LoginIssuer, login_issuer
from tests.running import ROOT, Running, start

NAMES = sorted(path.name for path in transcript.FOLDER.glob("*.txt"))
GROUPS = (
    ("looking", "doctor", "exec", "mistakes", "setup", "token", "login", "keys"),
    ("policy",),
    ("revoke",),
    ("night",),
)
"""The transcripts that share a broker, in this order: looking shows all there is, so it is first; keys replaces a key."""
PAGE = ROOT / "docs" / "cli.md"
WRITES = "KEYBROKER_WRITE_TRANSCRIPTS" in os.environ
"""Read here, since each test runs without such variables."""


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS, ids="+".join)
def test_commands_print_what_the_transcript_says(group: tuple[str, ...], tmp_path: Path) -> None:
    """Every command of every transcript prints what the transcript says."""
    with start(policy=(transcript.STAGE / "keybroker.yaml").read_text()) as running, login_issuer() as issuer:
        issuer.codes["interval"] = 1
        issuer.claims["email"] = "alice@example.com"
        for name in group:
            folder = tmp_path / name
            folder.mkdir()
            _check(f"{name}.txt", running, folder, issuer)


def _check(name: str, running: Running, folder: Path, issuer: LoginIssuer) -> None:
    text = transcript.read(name)
    urls = {"EDGE": running.edge, "ISSUER": running.issuer}
    login = {"KEYBROKER_LOGIN_ISSUER": issuer.url, "KEYBROKER_LOGIN_CLIENT_ID": CLIENT}
    environ = {**job(running), **administrator(running), **urls, **login, "KEYBROKER_IDENTITY": "github-actions"}
    shown = transcript.written(transcript.play(transcript.steps(text), running, folder, environ))
    assert "internal error in keybroker" not in shown
    if WRITES:
        assert _codes(shown) == _codes(text)
        (transcript.FOLDER / name).write_text(shown)
    else:
        assert shown.splitlines() == text.splitlines()


def _codes(text: str) -> list[str]:
    return [step.shown[-1] for step in transcript.steps(text)]


def test_every_transcript_is_run() -> None:
    """No transcript is left out of the groups, and none is in two."""
    assert sorted(f"{name}.txt" for group in GROUPS for name in group) == NAMES


def test_documentation_shows_transcripts() -> None:
    """Every example in docs/cli.md is a part of a transcript."""
    played = "\n".join(map(transcript.read, NAMES))
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 10
    for block in blocks:
        for part in re.split(r"^(?=\$ )", block, flags=re.MULTILINE)[1:]:
            assert part.rstrip() in played, part


def test_the_runbooks_show_transcripts() -> None:
    """What docs/operate.md types at night, and to freeze and thaw, is a part of a transcript."""
    page = (ROOT / "docs" / "operate.md").read_text()
    night = page[page.index("## At night") : page.index("## A deploy role was stolen")]
    parts = re.findall(r"^(\$ .*?^\[exit \d+\])", night, re.MULTILINE | re.DOTALL)
    assert len(parts) == 10
    for part in parts:
        assert part in transcript.read("night.txt"), part


def test_a_transcript_is_read_and_written_unchanged() -> None:
    """Reading a transcript and writing it gives the same text, and separates prose, commands and output."""
    steps = transcript.steps("Prose.\n\n$ true\n> && false\nout\n! err\n[exit 0]\n")
    assert steps == (transcript.Step(("Prose.", ""), ("true", "&& false"), ("out", "! err", "[exit 0]")),)
    assert transcript.written(steps) == "Prose.\n\n$ true\n> && false\nout\n! err\n[exit 0]\n"
