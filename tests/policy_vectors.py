"""Policy files in tests/vectors/policy: those that parse, and those that have the faults which their last lines state.

There, `PROVIDERS` and `PRESETS` stand for all the names of each.
"""

from __future__ import annotations

from pathlib import Path

from chalicelib.issuers.presets import PRESETS
from chalicelib.providers.presets import PROVIDERS

_FOLDER = Path(__file__).resolve().parent / "vectors" / "policy"
VALID = {file.stem: file.read_text() for file in sorted((_FOLDER / "valid").glob("*.yaml"))}
_NAMES = {"PROVIDERS": ", ".join(PROVIDERS), "PRESETS": ", ".join(PRESETS)}


def _spelled_out(text: str) -> str:
    for word, names in _NAMES.items():
        text = text.replace(word, names)
    return text


INVALID = {file.stem: _spelled_out(file.read_text()) for file in sorted((_FOLDER / "invalid").glob("*.yaml"))}
