"""What reading usage from answers takes of a worker, by several workers that do and several that do not, with callers in C.

Two processes that do the same differ by some percent for as long as they run; so there are several of each.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench import bench_gateway, doors
from tests.bench.bench_answer_reading import serve_unread
from tests.bench.bench_data_path import Case
from tests.bench.bench_gateway import Found
from tests.bench.doors import Door
from tests.bench.table import Cell, Table

ROUNDS, EACH = 20, 4
_CASES = tuple(case for case in bench_gateway.CASES if case.connections > 1 and not case.lines)


def tables() -> Iterator[Table]:
    """Yield the table, if there is a C compiler."""
    if shutil.which("cc") is None:
        sys.stderr.write(
            "SKIPPED: there is no C compiler here (Debian's package gcc); reading usage was NOT measured\n"
        )
        return
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        caller, provider = (bench_gateway.compiled(name, directory) for name in ("caller", "provider"))
        behind = stack.enter_context(bench_gateway.providing(stack.enter_context(doors.practising()), provider))
        read, unread = (
            [
                stack.enter_context(doors.keybroker(behind, directory / f"{kind}{number}", 1, *serve))
                for number in range(EACH)
            ]
            for kind, serve in (("read", ()), ("unread", (serve_unread,)))
        )
        turns = [(case, door) for case in _CASES for two in zip(read, unread, strict=True) for door in two]
        found = bench_gateway.rounds(turns, caller, ROUNDS)
    rows: list[tuple[Cell, ...]] = []
    for case in _CASES:
        with_, without = ([_cpu(found, case, door) for door in kind] for kind in (read, unread))
        more = statistics.mean(with_) / statistics.mean(without) - 1
        apart = max(max(one) / min(one) for one in (with_, without)) - 1
        rows.append((case.name, statistics.mean(without), statistics.mean(with_), f"{more:+.1%}", f"{apart:.1%}"))
    yield Table(
        "Reading usage: CPU time of a worker for a call, callers and provider in C",
        ("answer", "not read, µs", "read, µs", "more", "workers of one kind differ by"),
        rows,
        (f"Means of {EACH} workers of each kind, of each the median of {ROUNDS} rounds of 1 s in turns.",),
    )


def _cpu(found: Found, case: Case, door: Door) -> float:
    return statistics.median(one.cpu for one in found[case, door]) * 1e6
