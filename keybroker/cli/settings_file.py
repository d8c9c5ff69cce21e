"""Configuration files of other tools: what Keybroker has to be in them, added to what is there."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from keybroker.cli.failure import LOCAL, Failure


def json_with(text: str, wanted: dict[str, Any], file: str) -> str:
    """Return a JSON file's text with these members in it, and all others kept; raises Failure if it is not JSON."""
    try:
        there = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as fault:
        raise Failure(LOCAL, f"{file}: not JSON: {fault}") from None
    if not isinstance(there, dict):
        raise Failure(LOCAL, f"{file}: not a JSON object")
    return json.dumps(_merged(there, wanted), indent=2, ensure_ascii=False) + "\n"


def toml_with(text: str, top: str, tables: str, file: str) -> str:
    """Return a TOML file's text with the line `top` before its tables and `tables` at its end.

    What is there is kept as it stands. Raises Failure if it is not TOML, or says something else about the same.
    """
    there, wanted = _toml(text, file), _toml(f"{top}\n{tables}", file)
    if _holds(there, wanted):
        return text
    clash = _clash(there, wanted, "")
    if clash:
        raise Failure(LOCAL, f"{file}: {clash} is set already, to something else", "change it by hand, or take it away")
    added = "" if _holds(there, _toml(top, file)) else f"{top}\n\n"
    rest = f"{text.rstrip()}\n\n" if text.strip() else ""
    made = f"{added}{rest}{tables}"
    _toml(made, file)
    return made


def read(path: Path) -> str:
    """Return a file's text, "" if there is none; raises Failure."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as fault:
        raise Failure(LOCAL, f"{path}: cannot be read: {_why(fault)}") from None


def write(path: Path, text: str) -> None:
    """Replace a file in one step, its mode kept; raises Failure."""
    target = Path(os.path.realpath(path))  # a link, as dotfiles often are, stays one
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o644
        handle, made = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(made).chmod(mode)
            Path(made).replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(made).unlink()
            raise
    except OSError as fault:
        raise Failure(LOCAL, f"{path}: cannot be written: {_why(fault)}", "without --write it is printed") from None


def _merged(there: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    made = dict(there)
    for name, value in wanted.items():
        old = made.get(name)
        made[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return made


def _toml(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as fault:
        raise Failure(LOCAL, f"{file}: not TOML: {fault}") from None


def _holds(there: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return _merged(there, wanted) == there


def _clash(there: dict[str, Any], wanted: dict[str, Any], at: str) -> str:
    """Return the first member that is there with another value, "" for none."""
    for name, value in wanted.items():
        old = there.get(name)
        if isinstance(old, dict) and isinstance(value, dict) and not at:
            found = _clash(old, value, f"{name}.")
            if found:
                return found
        elif old is not None and old != value:
            return f"{at}{name}"
    return ""


def _why(fault: Exception) -> str:
    return getattr(fault, "strerror", None) or str(fault)
