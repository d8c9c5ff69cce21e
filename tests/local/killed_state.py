"""Run by tests: `state backup` or `state restore`, killed at each of its steps on the file system, one after another.

Arguments: the verb, a template directory with `state/` and `backup`, and a directory to work in. For each step one line of
JSON: what was left, and what the next start or backup made of it.
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
from local.machine import Machine, Urls

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

        with contextlib.redirect_stdout(io.StringIO()):
            sys.addaudithook(count)
            os._exit(main(arguments))
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


def _in_child(work: Path, name: str, arguments: list[str] | None) -> object:
    """Start on the state, or run a command, and say what is there then: a start holds the directory until it ends."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        code = 0
        with contextlib.redirect_stdout(io.StringIO()):
            if arguments:
                code = main(arguments)
        machine = Machine(work / "state", REAL)
        machine.prepare(None, {}, alone=True)
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
    return json.loads(text)


def run(verb: str, template: Path, work: Path) -> None:
    """Kill at each step until none is left."""
    step, killed = 0, True
    while killed:
        step += 1
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(template, work)
        (work / "state").chmod(0o700)
        file = work / ("backup" if verb == "restore" else "new")
        killed = _killed_at(step, ["state", verb, str(file), "--state", str(work / "state")])
        if verb == "restore":
            found = _in_child(work, ".restore-", None)
        else:
            again = ["state", "backup", str(file), "--state", str(work / "state")]
            found = _in_child(work, ".keybroker-backup-", ["state", "check", str(file)] if file.exists() else again)
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
