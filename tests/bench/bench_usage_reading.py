"""What reading usage from answers takes of a worker, with callers in C: by a clock around it, and by workers that do without.

Two processes that do the same differ by some percent for as long as they run; so there are several of each.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from local import worker
from local.simulator.answer_tally import AnswerTally
from local.simulator.origin_exchange import OriginAnswer
from local.simulator.settlements import Settlement
from tests.bench import bench_gateway, doors
from tests.bench.bench_answer_reading import serve_unread
from tests.bench.bench_data_path import Case
from tests.bench.bench_gateway import Found
from tests.bench.doors import Door
from tests.bench.table import Cell, Table

ROUNDS, EACH = 15, 4
TOOK = "took.json"
"""The file in which a worker says how long it has read."""
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
        timed = stack.enter_context(doors.keybroker(behind, directory / "timed", 1, serve_timed))
        there = [*(door for two in zip(read, unread, strict=True) for door in two), timed]
        found = bench_gateway.rounds([(case, door) for case in _CASES for door in there], caller, ROUNDS)
        took = json.loads((directory / "timed" / TOOK).read_text())
    rows: list[tuple[Cell, ...]] = []
    for case in _CASES:
        calls, seconds = took["stream" if case.stream else "document"]
        itself = seconds / calls * 1e6
        with_, without = ([_cpu(found, case, door) for door in kind] for kind in (read, unread))
        more = statistics.mean(with_) / statistics.mean(without) - 1
        apart = max(max(one) / min(one) for one in (with_, without)) - 1
        share = f"{itself / _cpu(found, case, timed):.1%}"
        means = statistics.mean(without), statistics.mean(with_)
        rows.append((case.name, itself, share, *means, f"{more:+.1%}", f"{apart:.1%}"))
    yield Table(
        "Reading usage: CPU time of a worker for a call, callers and provider in C",
        ("answer", "by a clock, µs", "of a call", "not read, µs", "read, µs", "more", "workers of one kind differ by"),
        rows,
        (
            f"Means of {EACH} workers of each kind, of each the median of {ROUNDS} rounds of 1 s in turns. By a clock: in one worker more, of",
            "answers that came in one piece, with the times in which another process had the core.",
        ),
    )


def serve_timed(job: worker.Job, *lines: object) -> None:
    """Serve as a worker does, and write how many answers of each kind were read, and in how many seconds."""
    took, take = {"stream": [0, 0.0], "document": [0, 0.0]}, AnswerTally.take

    def timed(
        tally: AnswerTally, settlement: Settlement, method: str, upstream: OriginAnswer, piece: bytes, *, is_whole: bool
    ) -> None:
        began = time.perf_counter()
        take(tally, settlement, method, upstream, piece, is_whole=is_whole)
        ended = time.perf_counter()
        of_kind = took["stream" if "stream" in upstream.headers["Content-Type"] else "document"]
        of_kind[0] += 1
        of_kind[1] += ended - began
        if of_kind[0] % 100 == 0:
            (job.directory / TOOK).write_text(json.dumps(took))

    AnswerTally.take = timed  # type: ignore[assignment,method-assign]
    worker.serve(job, *lines)  # type: ignore[arg-type]  # what `doors` gives it


def _cpu(found: Found, case: Case, door: Door) -> float:
    return statistics.median(one.cpu for one in found[case, door]) * 1e6
