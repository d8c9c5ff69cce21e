"""`keybroker serve`, `init` and `admins`: another program of the same installation, in place of this one."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

import pytest

from keybroker.cli import program, server
from keybroker.cli.command_error import CommandError
from tests.keybroker.cli.keybroker_command import run
from tests.running import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_what_is_missing_is_what_the_extra_brings() -> None:
    """The packages that are named where they are missing are those of the extra, as it has them.

    Without those for answers that are compressed, what such answers took is unknown, and that is all.
    """
    brought = {one for extra in ("server", "broker") for one in EXTRAS[extra] if not one.startswith("keybroker")}
    left_out = {one for one in brought if one.startswith(("backports-zstd", "brotli"))}
    assert len(left_out) == 2
    assert set(server.NEEDED.values()) == brought - left_out


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the one line says what to install, and nothing is started."""
    monkeypatch.setitem(server.NEEDED, "no_such_module_1", "no-such-one>=1,<2")
    monkeypatch.setitem(server.NEEDED, "no_such_module_2", "no-such-one>=1,<2")
    started: list[object] = []
    with pytest.raises(CommandError) as caught:
        server.start("serve", (), lambda *told: started.append(told))
    assert caught.value.lines == ("the server needs more packages: pip install 'no-such-one>=1,<2'",)
    assert started == []


def test_arguments_are_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything behind the command goes on as it is, and modules are found beside it before all others."""
    monkeypatch.setenv("PYTHONPATH", "/made/up")
    started: list[tuple[str, list[str], dict[str, str]]] = []
    server.start("init", ("--port", "1", "--url", "x"), lambda *told: started.append(told))
    [(program, arguments, environ)] = started
    assert (program, arguments[1:5]) == (sys.executable, ["-P", "-m", "local", "--installed"])
    assert arguments[5:] == ["init", "--port", "1", "--url", "x"]
    assert environ["PYTHONPATH"] == f"{ROOT}{os.pathsep}/made/up"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["serve", "init", "admins", "state", "gateway", "audit cut"])
def test_the_working_directory_is_no_server(tmp_path: Path, command: str) -> None:
    """Modules in the directory where a command is run are not taken for the server's; help is the server's own."""
    for name in ("local", "app", "chalicelib", "edge"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('another program')")
    done = run(*command.split(), "--help", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"usage: keybroker {command} ")


@pytest.mark.parametrize("verb", ["export", "cut"])
def test_audit_of_a_directory_is_the_servers(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """`audit export` and `audit cut` take a state directory, and go on to the server with every argument as it is."""
    started: list[tuple[str, tuple[str, ...]]] = []
    monkeypatch.setattr(server, "start", lambda name, arguments: started.append((name, arguments)))
    assert program.run(["audit", verb, "--state", "x", "--output", "y", "--help"]) == 0
    assert started == [("audit", (verb, "--state", "x", "--output", "y", "--help"))]
