"""The one reason for which a test of what is built may be skipped: pip reaches no index, and the wheels are not there."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from typing import NoReturn

import pytest


def skip_or_fail(said: str) -> NoReturn:
    """Skip a test whose zip was not built because pip reaches no index; fail it for any other reason.

    said: the build's error. A file that is not the locked one is a failure wherever it is found.
    """
    if "not the locked file" in said or "not the reviewed files" in said or is_reached():
        pytest.fail(f"nothing was built:\n{said}")
    pytest.skip(f"pip reaches no index: nothing was built and NOTHING CHECKED:\n{said[-600:]}")


def is_reached() -> bool:
    """Try whether pip gets a package that every index has."""
    with tempfile.TemporaryDirectory() as folder:
        download = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--no-cache-dir",
            "--retries=0",
            "--quiet",
            "--dest",
            folder,
        ]
        return subprocess.run([*download, "six"], capture_output=True, timeout=120, check=False).returncode == 0
