"""Configuration files of other tools: adds Keybroker's settings and keeps the rest."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.cli.input_file import parse_json_object


def merge_json(text: str, wanted: dict[str, Any], file: str) -> str:
    """Return a JSON file's text with these members set and all others kept; raises CommandError if it is not JSON."""
    current = parse_json_object(text, file) if text.strip() else {}
    return json.dumps(_merged(current, wanted), indent=2, ensure_ascii=False) + "\n"


def merge_toml(text: str, top: str, tables: str, file: str) -> str:
    """Return a TOML file's text with the line `top` before its tables and `tables` at its end.

    The existing text is kept unchanged. Raises CommandError if it is not TOML, or sets the same names to something else.
    """
    current, wanted = _toml(text, file), _toml(f"{top}\n{tables}", file)
    if _holds(current, wanted):
        return text
    clash = _clash(current, wanted, "")
    if clash:
        raise CommandError(LOCAL, f"{file}: {clash} is already set to something else", "change or remove it by hand")
    added = "" if _holds(current, _toml(top, file)) else f"{top}\n\n"
    rest = f"{text.rstrip()}\n\n" if text.strip() else ""
    result = f"{added}{rest}{tables}"
    _toml(result, file)
    return result


def read(path: Path) -> str:
    """Return a file's text, "" if it does not exist; raises CommandError."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(LOCAL, f"{path}: cannot be read: {_reason(error)}") from None


def write(path: Path, text: str) -> None:
    """Replace a file atomically, keeping its mode; raises CommandError."""
    target = Path(os.path.realpath(path))  # a symbolic link, as dotfiles often are, stays one
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o644
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).chmod(mode)
            Path(temporary).replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise CommandError(
            LOCAL, f"{path}: cannot be written: {_reason(error)}", "omit --write to print it instead"
        ) from None


def _merged(current: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    result = dict(current)
    for name, value in wanted.items():
        old = result.get(name)
        result[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _toml(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise CommandError(LOCAL, f"{file}: not TOML: {error}") from None


def _holds(current: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return _merged(current, wanted) == current


def _clash(current: dict[str, Any], wanted: dict[str, Any], prefix: str) -> str:
    """Return the first member that has another value, "" for none."""
    for name, value in wanted.items():
        old = current.get(name)
        if isinstance(old, dict) and isinstance(value, dict) and not prefix:
            found = _clash(old, value, f"{name}.")
            if found:
                return found
        elif old is not None and old != value:
            return f"{prefix}{name}"
    return ""


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
