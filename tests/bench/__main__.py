"""`make bench`: what things cost on this machine, as ratios that hold on others too. No test: nothing can fail."""

from __future__ import annotations

import importlib
import os
import platform
import sqlite3
import sys
from importlib.metadata import version
from pathlib import Path

PREFIX = "bench_"
USAGE = "usage: python -m tests.bench [NAME ...]   one of: {}, or all of them\n"


def main(asked: list[str]) -> int:
    """Run the benches of these names, or all: each file bench_NAME.py beside this one yields its tables."""
    known = sorted(path.stem.removeprefix(PREFIX) for path in Path(__file__).parent.glob(f"{PREFIX}*.py"))
    if not set(asked) <= set(known):
        sys.stderr.write(USAGE.format(", ".join(known)))
        return 1
    packages = ", ".join(f"{name} {version(name)}" for name in ("PyJWT", "cryptography", "PyYAML", "msgspec"))
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    sys.stdout.write(f"{where}, SQLite {sqlite3.sqlite_version}, {packages}\n\n")
    for name in asked or known:
        for table in importlib.import_module(f"tests.bench.{PREFIX}{name}").tables():
            sys.stdout.write("\n".join(table.lines()) + "\n\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
