"""One target under atheris, which keeps what reaches new code and changes that. It takes the whole process for itself."""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped]  # it is not in .venv

with atheris.instrument_imports(include=["app", "edge", "chalicelib", "local"]):
    from tests.fuzz.every import everything

if __name__ == "__main__":
    name, seconds = sys.argv[1:]
    with everything() as targets:
        attempt = targets[name].attempt(0, 1)
        one_input = attempt.hypothesis.fuzz_one_input  # type: ignore[attr-defined]  # Hypothesis puts it there
        atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=8192"], one_input)
        atheris.Fuzz()
