"""Mints from the practice token endpoints with the providers' own SDKs: `python -m tests.integration.federation_sdks PYTHON`.

PYTHON has the SDKs; `make test-federation-sdks` makes its environment. Each program mints once, and once more while the
endpoint denies. Bedrock has no endpoint that mints: its tokens are compared with those of AWS's own generator. Exit codes:
0 every SDK understood both answers; 1 one did not.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from aiohttp import web

from tests.integration.federation_sdks import bedrock
from tests.integration.federation_sdks.parties import PARTIES, Party
from tests.practice_server import serving
from tests.running import ROOT

PROGRAMS = Path(__file__).resolve().parent / "programs"
_SECONDS = 120


def main(python: str) -> int:
    """Run every program and return the exit code."""
    failed = 0
    for name, make in PARTIES.items():
        app = web.Application()
        party = make(app)
        with serving(app) as url:
            lines = _run(python, name, {"url": url, **party.settings})
        fault = _fault(party, lines)
        failed += bool(fault)
        sys.stdout.write(
            f"FAILED: {name}: {fault}\n" if fault else f"ok: {name} {lines[0]['version']}: {lines[2]['error']}\n"
        )
        sys.stdout.flush()
    try:
        said = f"ok: bedrock {bedrock.compare(python)}"
    except AssertionError as fault:
        failed, said = failed + 1, f"FAILED: bedrock: {fault}"
    sys.stdout.write(f"{said}\n")
    return int(bool(failed))


def _run(python: str, name: str, settings: dict[str, object]) -> list[dict[str, str]]:
    """Return the lines that a program prints: its version, what it minted, and its error when it is denied."""
    command = [python, "-m", f"tests.integration.federation_sdks.programs.mint_{name}"]
    done = subprocess.run(
        command, input=json.dumps(settings), capture_output=True, text=True, cwd=ROOT, timeout=_SECONDS, check=False
    )
    if done.returncode:
        return [{"crash": done.stderr[-1000:]}]
    return [json.loads(line) for line in done.stdout.splitlines()]


def _fault(party: Party, lines: list[dict[str, str]]) -> str:
    """Return what is not as it has to be; empty if all is well."""
    if len(lines) != 3 or "token" not in lines[1] or "error" not in lines[2]:
        return f"{lines} {party.endpoint.history}"
    if not party.accepts(lines[1]["token"]):
        return "what was minted is not accepted"
    if not lines[2]["error"].startswith(party.error):
        return f"the error is {lines[2]['error']!r}, and not {party.error!r}"
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
