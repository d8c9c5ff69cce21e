"""Files that somebody names on the command line; `-` is standard input."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

from keybroker.cli.failure import LOCAL, Failure

LIMIT = 4 * 1024 * 1024
"""Bytes at most."""


def text(name: str) -> str:
    """Return what is in a file; raises Failure."""
    try:
        if name == "-":
            return _decoded(sys.stdin.buffer.read(LIMIT + 1), "standard input")
        with Path(name).open("rb") as file:
            return _decoded(file.read(LIMIT + 1), name)
    except OSError as fault:
        raise Failure(LOCAL, f"{name}: {fault.strerror or fault}") from None


def json_object(name: str) -> dict[str, Any]:
    """Return the JSON object in a file; raises Failure."""
    try:
        found = json.loads(text(name))
    except (ValueError, RecursionError) as fault:
        raise Failure(LOCAL, f"{name}: not JSON: {fault}") from None
    if not isinstance(found, dict):
        raise Failure(LOCAL, f"{name}: not a JSON object")
    return found


def secret(name: str) -> str:
    """Return the secret in a file that nobody else may read; raises Failure."""
    if name != "-" and os.name == "posix":
        try:
            mode = stat.S_IMODE(Path(name).stat().st_mode)
        except OSError as fault:
            raise Failure(LOCAL, f"{name}: {fault.strerror or fault}") from None
        # SECURITY: a key that others on the machine can read is no secret (tests/keybroker/cli/test_given_file.py).
        if mode & 0o077 and Path(name).is_file():
            raise Failure(LOCAL, f"{name}: others on this machine can read it (mode {mode:04o})", f"chmod 600 {name}")
    return text(name)


def _decoded(read: bytes, name: str) -> str:
    if len(read) > LIMIT:
        raise Failure(LOCAL, f"{name}: over {LIMIT} bytes")
    try:
        return read.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise Failure(LOCAL, f"{name}: not UTF-8: {fault.reason} at byte {fault.start}") from None
