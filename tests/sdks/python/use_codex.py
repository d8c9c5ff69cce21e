"""Codex, from npm: each step is a run of its own, `codex exec`, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.sdks.python import agent
from tests.sdks.python.agent import Settings
from tests.sdks.python.steps import MODELS, run

HERE = Path(__file__).resolve().parent.parent / "agents" / "codex"
BIN = HERE / "node_modules" / ".bin"


class Codex(RuntimeError):  # noqa: N818  what the page calls its errors
    """What its user sees at the end."""


def fixed(base_url: str, token: str) -> Settings:
    """Return what a token in a variable needs."""
    return Settings({"OPENAI_API_KEY": token}, {"config.toml": agent.filled(HERE / "config-env-key.toml", base_url)})


def refreshed(base_url: str) -> Settings:
    """Return a configuration with an auth command."""
    return Settings({}, {"config.toml": agent.filled(HERE / "config.toml", base_url)})


def bare() -> Settings:
    """Return what `keybroker exec` cannot set by variables."""
    return Settings({}, {}, (str(HERE / "below-exec.sh"),))


def plain(settings: Settings) -> str:
    """Return what it answers."""
    with tempfile.TemporaryDirectory(dir=os.environ["HOME"]) as folder:
        program = ["sh", *settings.program] if settings.program else ["codex"]
        command = [*program, "exec", "--skip-git-repo-check", "--model", MODELS["openai"], "hello"]
        own = {"CODEX_HOME": folder, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        done = agent.run(command, settings, Path(folder), own)
    if done.returncode:
        raise Codex(agent.distinct(re.split(r"^ERROR: ", done.stderr, flags=re.MULTILINE)[-1]))
    return done.stdout.strip()


def streamed(settings: Settings) -> Iterator[str]:
    """Yield its answer, which it shows in one piece."""
    yield plain(settings)


if __name__ == "__main__":
    said = subprocess.run([BIN / "codex", "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    run(said.split()[-1], {"fixed": fixed, "refreshed": refreshed, "bare": bare}, plain, streamed)
