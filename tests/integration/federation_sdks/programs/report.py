"""What a program says, a line of JSON each: its SDK's version, what it minted, and its error when it is denied."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Callable
from typing import Any


def settings() -> dict[str, Any]:
    """Read what the practice endpoint wants to be asked."""
    read: dict[str, Any] = json.load(sys.stdin)
    return read


def run(package: str, mint: Callable[[], str]) -> None:
    """Mint twice; the second time the endpoint denies."""
    _say("version", f"{package} {importlib.metadata.version(package)}")
    _say("token", mint())
    try:
        _say("token", mint())
    except Exception as fault:  # noqa: BLE001  whatever it is, it is what the SDK made of the denial
        _say("error", f"{type(fault).__name__}: {fault}")


def _say(name: str, what: str) -> None:
    print(json.dumps({name: what}), flush=True)  # noqa: T201  the protocol
