"""Files named on the command line; `-` is standard input."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.encoding import decode

LIMIT = 4 * 1024 * 1024
"""Bytes at most."""


def read_text(name: str) -> str:
    """Return a file's text; raises CommandError."""
    try:
        if name == "-":
            return _decode(sys.stdin.buffer.read(LIMIT + 1), "standard input")
        with Path(name).open("rb") as file:
            return _decode(file.read(LIMIT + 1), name)
    except OSError as error:
        raise CommandError(LOCAL, f"{name}: {error.strerror or error}") from None


def read_json_object(name: str) -> dict[str, Any]:
    """Return the JSON object in a file; raises CommandError."""
    return parse_json_object(read_text(name), name)


def parse_json_object(text: str, name: str) -> dict[str, Any]:
    """Return the JSON object in a file's text. name: the file's. Raises CommandError."""
    try:
        members = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandError(LOCAL, f"{name}: not JSON: {error}") from None
    if not isinstance(members, dict):
        raise CommandError(LOCAL, f"{name}: not a JSON object")
    return members


def read_secret(name: str) -> str:
    """Return the secret in a file that is not readable by other users; raises CommandError."""
    if name != "-" and os.name == "posix":
        try:
            mode = stat.S_IMODE(Path(name).stat().st_mode)
        except OSError as error:
            raise CommandError(LOCAL, f"{name}: {error.strerror or error}") from None
        # SECURITY: a key that other users can read is not a secret (tests/keybroker/cli/test_input_file.py).
        if mode & 0o077 and Path(name).is_file():
            raise CommandError(LOCAL, f"{name}: readable by other users (mode {mode:04o})", f"chmod 600 {name}")
    return read_text(name)


def _decode(content: bytes, name: str) -> str:
    if len(content) > LIMIT:
        raise CommandError(LOCAL, f"{name}: larger than {LIMIT} bytes")
    try:
        return decode(content)
    except UnicodeDecodeError as error:
        raise CommandError(
            LOCAL, f"{name}: not {error.encoding.upper()}: {error.reason} at byte {error.start}"
        ) from None
