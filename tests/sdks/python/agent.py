"""What the coding assistants have in common: a run in a folder of its own, with variables and files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 200


@dataclass(frozen=True)
class Settings:
    """How an agent is told. environ: variables. files: of its configuration. program: a script in place of the agent."""

    environ: Mapping[str, str]
    files: Mapping[str, str]
    program: tuple[str, ...] = ()


def filled(file: Path, base_url: str) -> str:
    """Return a configuration with the edge's address in it. base_url: of the key, as the agent wants it."""
    edge = base_url.removesuffix("/v1").rpartition("/")[0]
    return file.read_text(encoding="utf-8").replace("EDGE", edge)


def run(
    command: Sequence[str], settings: Settings, folder: Path, own: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run an agent once. own: its variables. Raises subprocess.TimeoutExpired if it does not end."""
    for name, text in settings.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return subprocess.run(
        command,
        env={**os.environ, **own, **settings.environ},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def distinct(text: str) -> str:
    """Return the lines of a text, each once, as one."""
    return " ".join(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
