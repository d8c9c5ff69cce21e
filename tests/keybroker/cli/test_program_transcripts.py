"""The transcripts: each command is run, against a broker of its own, and must show what the file says.

KEYBROKER_WRITE_TRANSCRIPTS=1 writes what is shown into the files instead; read the difference before it is committed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.keybroker.cli import transcript
from tests.keybroker.cli.keybroker_command import administrator, job
from tests.running import ROOT, start

NAMES = sorted(path.name for path in transcript.FOLDER.glob("*.txt"))
PAGE = ROOT / "docs" / "cli.md"


@pytest.mark.parametrize("name", NAMES)
def test_every_command_of_a_transcript_shows_what_the_transcript_says(name: str, tmp_path: Path) -> None:
    text = transcript.read(name)
    policy = (transcript.STAGE / "keybroker.yaml").read_text()
    with start(policy=policy) as running:
        urls = {"EDGE": running.edge, "ISSUER": running.issuer}
        environ = {**job(running), **administrator(running), **urls, "KEYBROKER_IDENTITY": "github-actions"}
        shown = transcript.written(transcript.play(transcript.steps(text), running, tmp_path, environ))
    assert "internal error in keybroker" not in shown
    if os.environ.get("KEYBROKER_WRITE_TRANSCRIPTS"):
        assert _codes(shown) == _codes(text)
        (transcript.FOLDER / name).write_text(shown)
        return
    assert shown.splitlines() == text.splitlines()


def _codes(text: str) -> list[str]:
    return [step.shown[-1] for step in transcript.steps(text)]


def test_what_the_documentation_shows_is_in_a_transcript() -> None:
    played = "\n".join(map(transcript.read, NAMES))
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 10
    for block in blocks:
        for part in re.split(r"^(?=\$ )", block, flags=re.MULTILINE)[1:]:
            assert part.rstrip() in played, part


def test_a_transcript_that_says_something_else_is_noticed() -> None:
    steps = transcript.steps("Prose.\n\n$ true\n> && false\nout\n! err\n[exit 0]\n")
    assert steps == (transcript.Step(("Prose.", ""), ("true", "&& false"), ("out", "! err", "[exit 0]")),)
    assert transcript.written(steps) == "Prose.\n\n$ true\n> && false\nout\n! err\n[exit 0]\n"
