"""The wheel as users install it: into an environment with nothing else in it, without a network."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.running import ROOT, Running

pytestmark = pytest.mark.slow  # it is built and installed
SIZE_LIMIT = 208 * 1024
"""The client without the console. What each refusal at the edge means, in words, is 4 KiB of it."""
CONSOLE_LIMIT = 96 * 1024
"""Of which scripts that are not ours are half."""
"""Bytes of the client's own files, packed."""


@dataclass(frozen=True)
class Environment:
    """An environment with the wheel and nothing else."""

    python: Path
    wheel: Path

    def run(self, program: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program in it, apart from the source tree, with these variables alone."""
        command = [str(self.python), "-I", "-c", program]
        return subprocess.run(
            command,
            cwd=self.wheel.parent,
            env=dict(environ or {}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    install = [*pip, "--python", str(python), "install", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    return Environment(python, wheel)


def test_it_needs_no_other_package(bare: Environment) -> None:
    """The wheel needs no other package, and every public name can be imported."""
    installed = bare.run(
        "import importlib.metadata as m; print(sorted(one.metadata['Name'] for one in m.distributions()))"
    )
    assert installed.stdout.strip() == "['keybroker']"
    program = "import keybroker; print([getattr(keybroker, name).__module__ for name in keybroker.__all__])"
    done = bare.run(program)
    assert done.returncode == 0, done.stderr


def test_it_gets_and_revokes_a_token(bare: Environment, running: Running) -> None:
    """It gets a token and revokes it with nothing else installed."""
    program = """
from keybroker import TokenProvider
provider = TokenProvider("openai", grant="ci")
print(provider.base_url, provider().count("."))
provider.revoke()
"""
    done = bare.run(program, {"KEYBROKER_URL": running.broker, "KEYBROKER_ID_TOKEN": running.mint("8901")})
    assert (done.stdout.strip(), done.stderr) == (f"{running.edge}/openai/v1 2", "")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("provider()", "pip install 'botocore>=1.44,<2'"),
        ("provider.anthropic()()", "No module named 'anthropic'"),
        ("provider.httpx_auth()", "No module named 'httpx'"),
    ],
)
def test_a_missing_extra_is_named(bare: Environment, call: str, said: str) -> None:
    """What needs more says what to install."""
    program = f"import keybroker; provider = keybroker.TokenProvider('openai', 'https://broker.example.com'); {call}"
    done = bare.run(program, {"AWS_ACCESS_KEY_ID": "AKIAMADEUP", "KEYBROKER_IDENTITY": "aws-sigv4"})
    assert done.returncode == 1
    assert said in done.stderr.strip().splitlines()[-2] + done.stderr.strip().splitlines()[-1]


def test_it_holds_client_and_server(bare: Environment) -> None:
    """The client is small and typed; the server's modules are beside it as data, and nothing else is."""
    wheel = zipfile.ZipFile(bare.wheel)
    members = wheel.infolist()
    server = {one.filename for one in members if one.filename.startswith("keybroker/_server/")}
    (record,) = (one.filename for one in members if one.filename.endswith(".dist-info/RECORD"))
    # The record has a line with a hash for each file of the server's, too, which are most of it and no part of the client.
    of_client = b"".join(line for line in wheel.read(record).splitlines(keepends=True) if b"/_server/" not in line)
    console = {one.filename for one in members if one.filename.startswith("keybroker/console/")}
    files = sum(one.compress_size for one in members if one.filename not in {*server, *console, record})
    assert files + len(zlib.compress(of_client)) < SIZE_LIMIT
    assert sum(one.compress_size for one in members if one.filename in console) < CONSOLE_LIMIT
    assert {"keybroker/console/templates/now.html", "keybroker/console/static/LICENSES.txt"} <= console
    names = {one.filename for one in members}
    assert {"keybroker/py.typed", "keybroker/_server/local/__main__.py", "keybroker/_server/app.py"} <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"keybroker"}
    assert {name.split("/")[2] for name in server} == {"app.py", "edge.py", "chalicelib", "local"}
    assert not [name for name in names if "__pycache__" in name]
