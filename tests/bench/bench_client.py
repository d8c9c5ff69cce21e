"""What the library costs a program: the time to import it, the size of its wheel, and each time an SDK asks for its key."""

from __future__ import annotations

import importlib.util
import os
import resource
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from keybroker import Token
from keybroker.shared_token import SharedToken
from tests.bench.interleaved import interleaved
from tests.bench.table import Table

ROOT = Path(__file__).resolve().parents[2]
ROUNDS, CALLS = 7, 2_000
BARE = "nothing: the interpreter"
_MADE = "import keybroker; keybroker.TokenProvider('k', 'https://b.example')"
STEPS = {
    "import keybroker": "import keybroker",
    "… and make a TokenProvider": _MADE,
    "… and what its first request takes": f"{_MADE}; import keybroker.fetch; keybroker.find_identity()",
}
OTHERS = ("id", "urllib3", "httpx2", "botocore.session", "openai")
"""What else could get a token, or calls with it."""
_ENVIRONMENT = {**os.environ, "KEYBROKER_ID_TOKEN": "a.b.c"}


def tables() -> Iterator[Table]:
    """Yield the tables: imports, the wheel, and a served token."""
    yield _imports()
    if importlib.util.find_spec("hatchling"):
        yield _wheel()
    yield _served()


def _imports() -> Table:
    programs = {**STEPS, **{f"import {name}": f"import {name}" for name in OTHERS if _there(name)}}
    cases: dict[str, Callable[[], object]] = {BARE: partial(_run, "")}
    cases |= {name: partial(_run, program) for name, program in programs.items()}
    found = interleaved(cases, ROUNDS, clock=_cpu_of_children)
    return Table(
        f"The library's imports, over a bare interpreter ({found[BARE] * 1000:.0f} ms)",
        ("what", "CPU ms more"),
        [(name, (found[name] - found[BARE]) * 1000) for name in programs],
        (f"Median of {ROUNDS} interleaved rounds, byte-compiled files warm.",),
    )


def _wheel() -> Table:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
        subprocess.run([*command, folder, str(ROOT)], check=True, capture_output=True, timeout=120)
        (wheel,) = Path(folder).glob("*.whl")
        inside = zipfile.ZipFile(wheel).infolist()
        command_line = [one for one in inside if one.filename.startswith("keybroker/cli/")]
        library = [one for one in inside if one.filename.startswith("keybroker/") and one not in command_line]
        rows = [
            ("the wheel", wheel.stat().st_size / 1024),
            ("the library in it", sum(one.compress_size for one in library) / 1024),
            ("the command line in it", sum(one.compress_size for one in command_line) / 1024),
        ]
    return Table("The wheel", ("what", "KiB"), rows)


def _served() -> Table:
    shared = SharedToken(lambda: Token("a.b.c", 900, "s", "u"))
    shared.get()

    def nothing() -> str:
        return "a.b.c"

    found = interleaved({"bare: a function": nothing, "a valid token": shared.get}, ROUNDS, each=CALLS)
    rows = [(name, seconds * 1e6) for name, seconds in found.items()]
    return Table("Each time that an SDK asks for its key", ("what", "CPU µs"), rows)


def _there(name: str) -> bool:
    return importlib.util.find_spec(name.partition(".")[0]) is not None


def _run(code: str) -> None:
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=ROOT, env=_ENVIRONMENT, check=True, capture_output=True, timeout=60)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
