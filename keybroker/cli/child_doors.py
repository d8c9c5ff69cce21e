"""`keybroker doctor --child`: runs a probe as `keybroker exec` runs a program, and reports the doors that are open to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from keybroker.cli import identity_variables, isolation, own_process
from keybroker.cli.command_error import LOCAL
from keybroker.cli.finding import Finding
from keybroker.cli.isolation import Wall

_SECONDS = 30.0
_STEPS = ("GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT", "GITHUB_STATE")
_ADVICE = {
    "variable": "unset it, or run the program with exec --isolate",
    "file": "remove it, or run the program with exec --isolate",
    "address": "close it to the program: IMDSv2 with a hop limit of 1, a network policy, no metadata server",
    "process": "run the program with exec --isolate, or as another user (--user)",
    "root": "run the program with exec --isolate, or as another user (--user): nothing keeps root out",
}


def check(*, isolate: bool, user: str | None, may_restart: bool) -> Iterator[Finding]:
    """Yield a warning for each open door; raises CommandError where the wall that is asked for cannot be had."""
    is_new = own_process.take_back()
    walled = isolate or user is not None
    taken = identity_variables.take_out(os.environ, everything=walled)
    own_process.protect(taken.names, may_restart=may_restart and not is_new)
    wall = isolation.wall(os.environ, isolate=isolate, user=user)
    files = isolation.hidden(os.environ, Path.home())
    steps = [os.environ[name] for name in _STEPS if name in os.environ]
    asked = {"files": [path for path in files if path not in steps], "steps": steps, "walled": walled}
    found = _probe(wall, dict(taken.environ), asked)
    if found is None:
        yield Finding("child", "error", "the probe did not run", "try keybroker exec … -- python3 -c pass", LOCAL)
        return
    for kind, text in found:
        yield Finding("child", "warning", f"open: {text}", _ADVICE[kind])
    if not found:
        yield Finding("child", "ok", "no door to another identity was found open")


def _probe(wall: Wall, environ: dict[str, str], asked: dict[str, object]) -> list[tuple[str, str]] | None:
    with tempfile.TemporaryFile() as spec:
        spec.write(json.dumps(asked).encode())
        spec.seek(0)
        # -P: nothing is imported from the folder that it is run in.
        command = [sys.executable, "-P", "-m", "keybroker.cli.child_probe"]
        try:
            process = wall.start(command, environ, subprocess.PIPE, spec).process
        except OSError:
            return None
        with process:
            try:
                said, _ = process.communicate(timeout=_SECONDS)
                return [(kind, text) for kind, text in json.loads(said)]
            except (subprocess.TimeoutExpired, ValueError):
                process.kill()
                return None
