"""Where a soak takes place: an environment with the built wheel, and its `keybroker serve` over a new state directory."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.offline_pip import ENVIRON, build_wheel, write_python
from tests.own_server import DOORS, POLICY, OwnServer

WORKERS = 2


@contextlib.contextmanager
def served(directory: Path) -> Iterator[tuple[OwnServer, int, Path]]:
    """Serve from a wheel that is built now; yield the server, its process and its log."""
    program = _install(directory)
    (directory / "keybroker.yaml").write_text(POLICY)
    told = f"policy = 'keybroker.yaml'\nworkers = {WORKERS}\n{DOORS}[state]\ndirectory = 'state'\n"
    (directory / "keybroker.toml").write_text(told)
    command = [str(program), "serve", "--json", "--config", str(directory / "keybroker.toml")]
    with (
        (directory / "log").open("w") as log,
        subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (directory / "log").read_text()
            yield OwnServer.of(line), process.pid, directory / "log"
            process.terminate()
            assert process.wait(60) == 0, "the server does not end cleanly"
        finally:
            process.kill()


def _install(directory: Path) -> Path:
    """Install the wheel apart from the source tree, and return its program."""
    tools = directory / "tools"
    tools.mkdir()
    python = write_python(tools, directory / "packages")
    environment = directory / "environment"
    for command in (
        [str(python), "-m", "venv", str(environment)],
        [str(environment / "bin" / "pip"), "install", "--quiet", "--no-deps", str(build_wheel(directory))],
    ):
        subprocess.run(command, env={**os.environ, **ENVIRON}, check=True, timeout=300)
    return environment / "bin" / "keybroker"
