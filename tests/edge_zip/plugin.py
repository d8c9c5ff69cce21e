"""A pytest plugin: with `-p tests.edge_zip.plugin --edge-zip FILE`, tests of the edge reach the unpacked zip's own files.

They run in a process that has the zip and the standard library on its path. Here stay a test's state, keys and clock, which
that process asks for. The functions of REPLACED, the handlers among them, are called there, so a test has not to know.
"""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.edge.dependencies import reachable
from tests.edge_zip import wire

REPLACED = ("edge", "chalicelib.edge.", "chalicelib.models.", "chalicelib.providers.paths")
"""Modules, or beginnings of their names, whose public functions are called in the zip's process."""
peers: list[wire.Peer] = []
"""The process, as this one calls it; empty without --edge-zip."""
_task: list[Path] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--edge-zip", type=Path, help="the zip to test, as `make edge` builds it")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """Start the process, and put its functions in the place of ours before a test imports them."""
    archive = early_config.known_args_namespace.edge_zip
    if archive is None:
        raise pytest.UsageError("--edge-zip FILE is needed")
    folder = tempfile.TemporaryDirectory(prefix="edge-zip-")
    early_config.add_cleanup(folder.cleanup)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder.name)
    _task.append(Path(folder.name))
    peers.append(_started(early_config, folder.name))
    _replace(peers[0])
    yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what reaches into modules of this process."""
    left_out = [item for item in items if item.get_closest_marker("inside")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the whole run if the process had anything but the zip, or was not asked."""
    loaded = peers[0].call(None, "wire:files", (), {}) if peers else []
    strange = [file for file in loaded if not file.startswith((str(_task[0]), *_STANDARD))]
    if strange or peers[0].calls < session.testscollected:
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        sys.stderr.write(f"the zip's process had {strange}, and was asked {peers[0].calls} times\n")


_STANDARD = (str(Path(inspect.__file__).parent),)


def _started(config: pytest.Config, task: str) -> wire.Peer:
    # -I and -S: neither this directory, nor environment variables, nor installed packages.
    command = [sys.executable, "-I", "-S", "-B", "-c", Path(wire.__file__).read_text(encoding="utf-8"), task]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=task)
    assert process.stdin
    assert process.stdout

    def end() -> None:
        assert process.stdin
        process.stdin.close()
        process.wait(10)

    config.add_cleanup(end)
    return wire.Peer(process.stdout, process.stdin)


def _replace(peer: wire.Peer) -> None:
    for name in sorted(reachable("edge")):
        if name == "edge" or name.startswith(REPLACED[1:]):
            module = importlib.import_module(name)
            for word, function in inspect.getmembers(module, inspect.isfunction):
                if function.__module__ == name and not word.startswith("_"):
                    setattr(module, word, _there(peer, f"{name}:{word}"))
    import edge  # noqa: PLC0415  after its functions were replaced

    edge.handler = _there(peer, "start:handler")


def _there(peer: wire.Peer, name: str) -> Callable[..., Any]:
    return lambda *given, **named: peer.call(None, name, given, named)
