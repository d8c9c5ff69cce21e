"""One worker beside gateways of others, with callers and a provider in C, which leave the cores to them."""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from local.machine import Machine
from tests.bench import doors, gateways
from tests.bench.bench_answer_reading import serve_unread
from tests.bench.bench_data_path import CASES as IN_ALL
from tests.bench.bench_data_path import MOST_FAILED, Case
from tests.bench.doors import Door, Practice
from tests.bench.table import Cell, Table

ROUNDS, SECONDS = 7, 1.0
_OWN = Case(
    "JSON, 32 connections, each head its own", stream=False, connections=32, calls=0, lines="X-Request-Id: %%%%%%%%%%\n"
)
"""As where something writes an id into every call's head, so that no door has seen it before."""
CASES = (*IN_ALL, _OWN)
_SOURCES = Path(__file__).parent / "gateway"
Found = dict[tuple[Case, Door], list["Measured"]]


@dataclass(frozen=True, slots=True)
class Measured:
    """One round of one case at one door. p50, p99: microseconds. cpu: seconds of the door's processes for each call."""

    rate: float
    p50: float
    p99: float
    cpu: float
    failed: float


def tables() -> Iterator[Table]:
    """Yield a table for each case, if there is a C compiler."""
    if shutil.which("cc") is None:
        sys.stderr.write("SKIPPED: there is no C compiler here (Debian's package gcc); gateways were NOT measured\n")
        return
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        caller, provider = (compiled(name, directory) for name in ("caller", "provider"))
        behind = stack.enter_context(providing(stack.enter_context(doors.practising()), provider))
        one, two = (
            stack.enter_context(doors.keybroker(behind, directory / name, n)) for n, name in ((1, "one"), (2, "two"))
        )
        unread = replace(
            stack.enter_context(doors.keybroker(behind, directory / "unread", 1, serve_unread)),
            name="Keybroker, 1 worker, reads no usage",
        )
        issuer = Machine.open(directory / "one").edge_ports().edge.issuer
        others = [
            stack.enter_context(gateways.envoy(behind, one, issuer, directory)),
            stack.enter_context(doors.haproxy(behind, one, directory)),
            stack.enter_context(gateways.portkey(behind)),
        ]
        alone = Door("provider alone", int(behind.provider.rpartition(":")[2]), "", behind.key, (behind.pid,))
        ours = (alone, one, unread, two)
        there = [*ours, *(door for door in others if door)]
        turns = [(case, door) for case in CASES for door in there if door in ours or _serves(case, door, caller)]
        found = rounds(turns, caller, ROUNDS)
        for case in CASES:
            of_case = {door: found[case, door] for door in there if (case, door) in found}
            yield _table(case, of_case, others[0] or one)


def compiled(name: str, directory: Path) -> Path:
    """Return the program of callers, or that of a provider."""
    program = directory / name
    subprocess.run(["cc", "-O2", "-o", str(program), str(_SOURCES / f"{name}.c")], check=True)
    return program


@contextlib.contextmanager
def providing(behind: Practice, program: Path) -> Iterator[Practice]:
    """Put a provider in the place of the one in Python."""
    port = doors.free_port()
    with doors.started([str(program), str(port)], port) as pid:
        yield replace(behind, provider=f"http://127.0.0.1:{port}", pid=pid)


def _serves(case: Case, door: Door, caller: Path) -> bool:
    try:
        _measure(case, door, caller)
    except RuntimeError as fault:
        sys.stderr.write(f"SKIPPED: {fault}\n")
        return False
    return True


def rounds(turns: list[tuple[Case, Door]], caller: Path, count: int) -> Found:
    """Do every case at every door in turn, each round beginning with another; one round more goes ahead."""
    found: Found = {turn: [] for turn in turns}
    for number in range(count + 1):
        first = number * 5 % len(turns)
        for case, door in turns[first:] + turns[:first]:
            measured = _measure(case, door, caller)
            if number:
                found[case, door].append(measured)
            if door.upkeep:
                door.upkeep.run()
    return found


def _measure(case: Case, door: Door, caller: Path) -> Measured:
    command = [str(caller), str(door.port), str(case.connections), str(SECONDS)]
    before = door.cpu()
    said = subprocess.run(command, input=case.request(door), capture_output=True, timeout=60, check=False)
    if said.returncode:
        raise RuntimeError(f"{door.name}, {case.name}: {said.stderr.decode().strip()}")
    calls, failed, seconds, p50, p99 = map(float, said.stdout.split())
    if failed > calls * MOST_FAILED:
        raise RuntimeError(f"{door.name}, {case.name}: {failed:.0f} of {calls:.0f} calls were not answered with 200")
    return Measured(calls / seconds, p50, p99, (door.cpu() - before) / calls, failed / calls)


def _table(case: Case, found: Mapping[Door, list[Measured]], beside: Door) -> Table:
    def middle(door: Door, name: str) -> float:
        return statistics.median(float(getattr(one, name)) for one in found[door])

    rows: list[tuple[Cell, ...]] = [
        (
            door.name,
            middle(door, "rate"),
            f"{middle(door, 'rate') / middle(beside, 'rate'):.2f}",
            middle(door, "p50"),
            middle(door, "p99"),
            middle(door, "p50") - middle(beside, "p50"),
            middle(door, "cpu") * 1e6,
            f"{statistics.mean(one.failed for one in found[door]):.2%}",
        )
        for door in found
    ]
    name = beside.name.partition(" ")[0]
    return Table(
        f"Gateways: {case.name}, callers and provider in C",
        ("door", "a second", f"x {name}", "p50 µs", "p99 µs", f"p50 over {name}'s", "its CPU µs a call", "not 200"),
        rows,
        (
            f"Medians of {ROUNDS} interleaved rounds of {SECONDS:.0f} s. Callers and provider take some of the same {os.cpu_count()} cores, too.",
        ),
    )
