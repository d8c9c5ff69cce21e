"""`make fuzz`: looks for what breaks the rules, for as long as it is let."""

from __future__ import annotations

import argparse
import subprocess
import sys

from tests.fuzz.every import everything
from tests.fuzz.target import Target

OVERTIME = 120.0
"""Seconds that a guided process may take beside its own time."""


def main(arguments: list[str]) -> int:
    """Fuzz the targets of these names, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--atheris", action="store_true", help="let atheris guide it, which has to be installed here")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all of them, unless some are named")
    asked = parser.parse_args(arguments)
    with everything() as found:
        unknown = set(asked.targets) - found.keys()
        if unknown:
            parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(found)}")
        is_clean = True
        for target in [found[name] for name in asked.targets] or found.values():
            is_clean &= _guided(target, asked.seconds) if asked.atheris else _drawn(target, asked.seconds)
    return 0 if is_clean else 1


def _drawn(target: Target, seconds: int) -> bool:
    try:
        target.run(seconds)
    except Exception as found:  # noqa: BLE001  whatever it is, it was found
        _say(target, f"FOUND {found!r}\n" + "\n".join(getattr(found, "__notes__", ())))
        return False
    _say(target, f"{target.tally.tried:,} tried, nothing found; the slowest took {target.tally.slowest * 1e3:.0f} ms")
    return True


def _guided(target: Target, seconds: int) -> bool:
    command = [sys.executable, "-m", "tests.fuzz.guided", target.name, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + OVERTIME, check=False)
    ends = [line for line in done.stderr.splitlines() if line.startswith("Done ")]
    is_clean = done.returncode == 0 and bool(ends)
    _say(target, f"{ends[0]}, guided, nothing found" if is_clean else f"FOUND\n{done.stdout}\n{done.stderr}")
    return is_clean


def _say(target: Target, text: str) -> None:
    sys.stdout.write(f"{target.name:14} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
