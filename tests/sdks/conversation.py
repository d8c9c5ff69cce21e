"""A client's process in its own environment, and the lines that are spoken with it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.running import ROOT

PATIENCE = 240.0
"""Seconds that an answer may take: SDKs wait on purpose, Cohere's two minutes, and the machine may be busy."""


class SilentClientError(RuntimeError):
    """The process said nothing in time, or ended; the text has what it wrote to stderr."""


@dataclass(frozen=True, slots=True)
class Description:
    """What the user of a client sees: a text in so many pieces, or an error."""

    text: str = ""
    pieces: int = 0
    error: str = ""


@dataclass(slots=True)
class Conversation:
    """A running process. version: what the client calls its version."""

    process: subprocess.Popen[str]
    lines: queue.Queue[str]
    log: Path
    version: str = ""

    def ask(self, step: str, **how: Any) -> Description:  # noqa: ANN401  what steps.py reads
        """Have one step done; raises SilentClientError."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"step": step, **how}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # `hear` says why
        return Description(**self.hear())

    def hear(self) -> dict[str, Any]:
        """Return the next thing it says; what is no JSON is some library's own chatter."""
        while True:
            try:
                line = self.lines.get(timeout=PATIENCE)
            except queue.Empty:
                line = ""
            if not line:
                raise SilentClientError(
                    self.log.read_text(errors="replace")[-2000:] or f"nothing was said in {PATIENCE:.0f} s"
                )
            with contextlib.suppress(ValueError):
                said: dict[str, Any] = json.loads(line)
                return said


@contextlib.contextmanager
def conversation(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Conversation]:
    """Start a client's process, which knows nothing of the person's own environment; raises SilentClientError if it does not start."""
    with tempfile.TemporaryDirectory() as home, (Path(home) / "log").open("w") as log:
        process = subprocess.Popen(
            ["nice", "-n", "5", *command],
            cwd=ROOT,
            env={"PATH": os.defpath, "HOME": home, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_listen, args=(process, lines), daemon=True).start()
        one = Conversation(process, lines, Path(home) / "log")
        try:
            one.version = str(one.hear()["version"])
            yield one
        finally:
            _end(process)


def _listen(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
