"""The calls of a program below `keybroker exec`: one JSON line says its version, one more what came of each call."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping


def run(version: str, calls: Mapping[str, Callable[[], object]]) -> None:
    """Make each call, and say what it returned, or its error, as the last line of a stack trace has it."""
    _say({"version": version})
    for name, call in calls.items():
        try:
            _say({"call": name, "said": str(call())})
        except Exception as fault:  # noqa: BLE001  whatever it is, it is what the user sees
            _say({"call": name, "error": f"{type(fault).__name__}: {fault}"})


def _say(what: dict[str, object]) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201  the protocol
