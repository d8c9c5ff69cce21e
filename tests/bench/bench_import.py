"""What each door imports before it answers its first request: the part of a cold start that is ours."""

from __future__ import annotations

import importlib.util
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.bench.interleaved import interleaved
from tests.bench.table import Table

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 9
BARE = "nothing: the interpreter"
READERS = ("jwt", "yaml", "msgspec", "pydantic", "botocore")
DOORS = {"public door: chalicelib.http.public": "chalicelib.http.public"}
DOORS["administrators' door: chalicelib.admin.policy"] = "chalicelib.admin.policy"


def tables() -> Iterator[Table]:
    """Yield the table: CPU time of imports, each in an interpreter of its own."""
    libraries = {f"import {name}": name for name in READERS if importlib.util.find_spec(name)}
    modules = {**DOORS, **libraries}
    cases: dict[str, Callable[[], object]] = {BARE: partial(_run, "")}
    cases |= {name: partial(_run, f"import {module}") for name, module in modules.items()}
    found = interleaved(cases, ROUNDS, clock=_cpu_of_children)
    rows = [(name, (found[name] - found[BARE]) * 1000, _brought(module)) for name, module in modules.items()]
    yield Table(
        f"Imports, over a bare interpreter ({found[BARE] * 1000:.0f} ms)",
        ("what", "CPU ms more", "third parties in it"),
        rows,
        (
            f"Median of {ROUNDS} interleaved rounds, byte-compiled files warm. The policy's reader (PyYAML, msgspec) is",
            "imported by the administrators' door alone, so that no caller waits for it at a cold start.",
        ),
    )


def _run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout


def _brought(module: str) -> str:
    """Which of the larger third parties a module brings along."""
    code = f"import sys, {module}; print(*(name for name in {READERS!r} if name in sys.modules))"
    return ", ".join(_run(code).split())


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
