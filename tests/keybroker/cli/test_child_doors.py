"""`keybroker doctor --child`: the probe is run as `exec` runs a program, and what it finds is reported."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.keybroker.cli.keybroker_command import job, run
from tests.keybroker.cli.test_isolation import needs_bubblewrap
from tests.running import Running

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="is for Linux")
AWS = {"AWS_SECRET_ACCESS_KEY": "made-up-secret", "AWS_CONFIG_FILE": "/nonexistent"}


def doors(*arguments: str, **environ: str) -> tuple[int, list[str]]:
    done = run("doctor", "--child", *arguments, "--output", "json", environ=environ)
    findings = json.loads(done.out)
    assert {one["check"] for one in findings} == {"child"}
    assert all(one["advice"] for one in findings if one["state"] == "warning")
    return done.code, [one["text"] for one in findings]


def test_open_doors_are_listed(running: Running, tmp_path: Path) -> None:
    """What exec leaves to its program is listed, what it takes out is not, and the exit code is 0."""
    (tmp_path / "token").write_text("made-up")
    environ = {
        **job(running),
        **AWS,
        "KEYBROKER_ID_TOKEN_FILE": str(tmp_path / "token"),
        "GITHUB_ENV": str(tmp_path / "env"),
    }
    (tmp_path / "env").touch()
    code, said = doors(**environ)
    assert code == 0
    for expected in (
        "variable AWS_SECRET_ACCESS_KEY",
        f"file {tmp_path}/token",
        f"file {tmp_path}/env, which later steps",
    ):
        assert [text for text in said if text.startswith(f"open: the {expected}")]
    assert not [text for text in said if "variable ACTIONS_" in text or "variable KEYBROKER_" in text]
    assert not [text for text in said if "made-up" in text]


@needs_bubblewrap
def test_isolation_closes_them(running: Running, tmp_path: Path) -> None:
    """With --isolate only the network and root's own power stay open."""
    (tmp_path / "token").write_text("made-up")
    (tmp_path / "env").touch()
    environ = {
        **job(running),
        **AWS,
        "KEYBROKER_ID_TOKEN_FILE": str(tmp_path / "token"),
        "GITHUB_ENV": str(tmp_path / "env"),
    }
    _, said = doors("--isolate", **environ)
    assert not [text for text in said if "variable" in text or "file" in text or "process" in text]


def test_a_wall_that_cannot_be_had_is_an_error(running: Running, tmp_path: Path) -> None:
    """Without bubblewrap `doctor --child --isolate` is an error, as `exec --isolate` is; without --child it means nothing."""
    done = run("doctor", "--child", "--isolate", environ={**job(running), "PATH": str(tmp_path)})
    assert (done.code, "needs bubblewrap" in done.err) == (1, True)
    done = run("doctor", "--isolate", environ=job(running))
    assert (done.code, "apply to --child" in done.err) == (1, True)
