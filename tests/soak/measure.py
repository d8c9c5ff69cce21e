"""What the processes of one server hold, from /proc, and whether it grows without bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MEGABYTE = 1_000_000
SLACK_RESIDENT, SLACK_SHARE = 8 * MEGABYTE, 1.05
"""How far memory may lie above what it ever was in the first half: allocators keep pages that they have had."""
SLACK_DESCRIPTORS, SLACK_THREADS = 8, 2
_KINDS = {b"spawn_main": "worker", b"resource_tracker": "tracker"}


@dataclass(frozen=True, slots=True)
class Held:
    """What one process holds: bytes of memory, open descriptors, threads."""

    pid: int
    resident: int
    descriptors: int
    threads: int


@dataclass(frozen=True, slots=True)
class Sample:
    """What all of them hold after so many calls. seconds: since the start. state: bytes of the state directory."""

    calls: int
    seconds: float
    state: int
    held: Mapping[str, Held]


def sample(pid: int, state: Path, calls: int, seconds: float) -> Sample:
    """Look at a server now. pid: of its parent process."""
    held = {name: _held(one) for name, one in _processes(pid).items()}
    return Sample(calls, seconds, sum(one.stat().st_size for one in state.rglob("*") if one.is_file()), held)


def faults(samples: Sequence[Sample]) -> list[str]:
    """Return what grew beyond all that it was in the first half, and which processes are not those of the start."""
    first, last = samples[: len(samples) // 2 + 1], samples[-1]
    found = []
    for name, now in last.held.items():
        before = [one.held[name] for one in first if name in one.held]
        if not before or before[0].pid != now.pid:
            found.append(f"{name} is another process than at the start")
            continue
        resident = max(one.resident for one in before)
        if now.resident > resident * SLACK_SHARE + SLACK_RESIDENT:
            found.append(f"{name}: {now.resident:,} bytes of memory, {resident:,} in the first half")
        if now.descriptors > (most := max(one.descriptors for one in before)) + SLACK_DESCRIPTORS:
            found.append(f"{name}: {now.descriptors} descriptors, {most} in the first half")
        if now.threads > (most := max(one.threads for one in before)) + SLACK_THREADS:
            found.append(f"{name}: {now.threads} threads, {most} in the first half")
    return found + [f"{name} is gone" for name in samples[0].held if name not in last.held]


def lines(samples: Sequence[Sample]) -> list[str]:
    """Return a table of at most 100 columns."""
    names = list(samples[0].held)
    above = f"{'':27}" + "".join(f"{name:>18}" for name in names)
    header = f"{'calls':>9}{'s':>7}{'state MB':>11}" + f"{'MB':>10}{'fd':>4}{'thr':>4}" * len(names)
    return [above, header, *map(_line, samples)]


def _line(one: Sample) -> str:
    start = f"{one.calls:>9,}{one.seconds:>7.0f}{one.state / MEGABYTE:>11.1f}"
    return start + "".join(
        f"{held.resident / MEGABYTE:>10.1f}{held.descriptors:>4}{held.threads:>4}" for held in one.held.values()
    )


def _processes(parent: int) -> dict[str, int]:
    """Return the processes by what they are: the parent, its workers by their order, and Python's own beside them."""
    found = {"parent": parent}
    for one in sorted(map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())):
        command = Path(f"/proc/{one}/cmdline").read_bytes()
        kind = next((kind for mark, kind in _KINDS.items() if mark in command), "other")
        found[f"{kind} {1 + sum(name.startswith(kind) for name in found)}"] = one
    return found


def _held(pid: int) -> Held:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    resident = int(status["VmRSS"].split()[0]) * 1024
    return Held(pid, resident, len(list(Path(f"/proc/{pid}/fd").iterdir())), int(status["Threads"]))
