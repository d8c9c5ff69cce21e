"""Run by tests: `state backup`, `restore` or `seal`, killed at each of its steps on the file system, one after another.

Arguments: the verb, a template directory with `state/` and `backup`, or the passphrases' files `old`, if any, and `new`, and
a directory to work in. For each step one line of JSON: what was left, and what the next start or backup made of it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from local.__main__ import main
from local.errors import PassphraseUnusable
from local.machine import Machine
from local.sealing import FILE_VARIABLE
from local.urls import Urls

REAL = Urls("http://127.0.0.1:1", "http://127.0.0.1:2", None, None)
_STEPS = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "open", "sqlite3.connect"}


def _killed_at(step: int, arguments: list[str]) -> bool:
    """Run a command in a process of its own, and return whether it was killed at this step."""
    child = os.fork()
    if not child:
        seen = 0

        def count(name: str, _arguments: object) -> None:
            nonlocal seen
            if name in _STEPS:
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            sys.addaudithook(count)
            os._exit(main(arguments))
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


def _in_child(work: Path, name: str, arguments: list[str] | None) -> dict[str, object] | None:
    """Start on the state, or run a command, and say what is there then; None if the keys cannot be opened.

    A start holds the directory until it ends.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        code = 0
        with contextlib.redirect_stdout(io.StringIO()):
            if arguments:
                code = main(arguments)
        machine = Machine(work / "state", REAL)
        try:
            machine.prepare(None, {}, alone=True)
        except PassphraseUnusable:
            os._exit(0)
        [key] = machine.control().keys(machine.event("keys.read", {}))
        value = machine.edge_ports().edge.provider_keys.get("openai", key.current.version).value if key.current else ""
        found = {
            "code": code,
            "policy": machine.control().current().version,
            "value": value,
            "left": sorted(one.name for one in [*work.iterdir(), *machine.directory.iterdir()] if name in one.name),
        }
        os.write(writing, json.dumps(found).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        text = said.read()
    os.waitpid(child, 0)
    outcome: dict[str, object] | None = json.loads(text) if text else None
    return outcome


def _sealed(work: Path) -> dict[str, object]:
    """Start by the old passphrase, or else by the new one, and say which opens the keys, and which files are in the clear."""
    files = {one.name: one.read_bytes() for one in (work / "state").rglob("*") if one.is_file()}
    clear = sorted(name for name, content in files.items() if b"sk-real" in content or b"PRIVATE" in content)
    for by in ("old", "new"):
        os.environ[FILE_VARIABLE] = str(work / by) if (work / by).exists() else ""
        found = _in_child(work, ".seal-", None)
        if found is not None:
            return {**found, "by": by, "clear": clear}
    return {"by": "neither"}


def run(verb: str, template: Path, work: Path) -> None:
    """Kill at each step until none is left."""
    step, killed = 0, True
    while killed:
        step += 1
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(template, work)
        (work / "state").chmod(0o700)
        file = work / ("backup" if verb == "restore" else "new")
        if verb == "seal":
            os.environ[FILE_VARIABLE] = str(work / "old") if (work / "old").exists() else ""
        named = ["--passphrase-file", str(file)] if verb == "seal" else [str(file)]
        killed = _killed_at(step, ["state", verb, *named, "--state", str(work / "state")])
        if verb == "seal":
            found = _sealed(work)
        elif verb == "restore":
            found = _in_child(work, ".restore-", None) or {}
        else:
            again = ["state", "backup", str(file), "--state", str(work / "state")]
            found = (
                _in_child(work, ".keybroker-backup-", ["state", "check", str(file)] if file.exists() else again) or {}
            )
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
