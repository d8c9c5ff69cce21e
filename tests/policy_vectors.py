"""Policy files in tests/vectors/policy: those that parse, and those that have the faults which their last lines state."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).resolve().parent / "vectors" / "policy"
VALID = {file.stem: file.read_text() for file in sorted((_FOLDER / "valid").glob("*.yaml"))}
INVALID = {file.stem: file.read_text() for file in sorted((_FOLDER / "invalid").glob("*.yaml"))}
