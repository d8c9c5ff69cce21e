"""The environments of the clients: made when they are missing or their requirements have changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.running import ROOT
from tests.sdks.clients import Client

HERE = Path(__file__).resolve().parent
NODE = HERE / "node"
AGENTS = HERE / "agents"
NODE_NEEDED = 22
_SECONDS = 900
_STAMP = ".installed"
_QUIETLY = ("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


class EnvironmentUnavailableError(RuntimeError):
    """An environment cannot be made here; the text says why."""


def command(client: Client) -> list[str]:
    """Return what starts a client's script, after making its environment if need be; raises EnvironmentUnavailableError."""
    return prepared(client.environment, client.script)


def prepared(environment: str, script: tuple[str, ...]) -> list[str]:
    """Return what starts a script in an environment, as `command`."""
    name, *arguments = script
    if environment == "node":
        _make(NODE / "node_modules", NODE / "package.json", [["npm", "install", "--prefix", str(NODE), *_QUIETLY]])
        return [_node(), str(NODE / name), *arguments]
    own = AGENTS / environment
    if own.is_dir():
        _make(own / "node_modules", own / "package.json", [["npm", "install", "--prefix", str(own), *_QUIETLY]])
        return [sys.executable, "-m", f"tests.sdks.python.{name}", *arguments]
    folder = ROOT / f".venv-sdk-{environment}"
    requirements = requirements_of(environment)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps = [[sys.executable, "-m", "venv", str(folder)], [*pip, "--upgrade", "-r", str(requirements)]]
    _make(folder, requirements, steps)
    return [str(folder / "bin" / "python"), "-m", f"tests.sdks.python.{name}", *arguments]


def requirements_of(environment: str) -> Path:
    """Return the file that says what is in an environment of Python's."""
    return HERE / "requirements" / f"{environment}.txt"


def forget() -> None:
    """Have every environment made anew, when it is next wanted, with the newest that its requirements allow."""
    for stamp in ROOT.glob(f".venv-sdk-*/{_STAMP}"):
        stamp.unlink(missing_ok=True)
    for modules in (NODE / "node_modules", *AGENTS.glob("*/node_modules")):
        shutil.rmtree(modules, ignore_errors=True)  # npm would leave alone what fits the range already


def _make(folder: Path, source: Path, commands: list[list[str]]) -> None:
    stamp = folder / _STAMP
    wanted = hashlib.sha256(source.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    sys.stderr.write(f"setting up {folder.relative_to(ROOT)} (once, about half a minute)\n")
    for one in commands:
        try:
            done = subprocess.run(one, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise EnvironmentUnavailableError(f"{one[0]} was not done after {_SECONDS} s") from None
        except OSError as fault:
            raise EnvironmentUnavailableError(f"{one[0]} cannot be run: {fault.strerror}") from None
        if done.returncode:
            raise EnvironmentUnavailableError((done.stderr or done.stdout).strip()[-500:])
    stamp.write_text(wanted)


def _node() -> str:
    """Return a node that is new enough: npm's, which comes with the packages where there is one, or the machine's."""
    found = [*map(str, (NODE / "node_modules").glob("node-*/bin/node")), shutil.which("node")]
    for node in filter(None, found):
        asked = subprocess.run(
            [node, "--version"], capture_output=True, text=True, timeout=60, check=False, env={"PATH": os.defpath}
        )
        if not asked.returncode and int(asked.stdout.strip().lstrip("v").partition(".")[0]) >= NODE_NEEDED:
            return node
    raise EnvironmentUnavailableError(f"there is no Node {NODE_NEEDED} here, and npm has none for this machine")
