"""What distance and freezing do to the edge function: its zip under AWS's own loop, over ministack behind TLS and a long line."""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.bench import runtime_api
from tests.bench.edge_stage import Stage, stage
from tests.bench.runtime_api import Function, FunctionFailedError, function
from tests.bench.table import Cell, Table
from tests.chalicelib.issuers.test_fetch import certificate
from tests.integration import ministack
from tests.line import Line, line

DISTANCES = (0, 20, 100, 180, 280, 330)
"""Milliseconds there and back."""
STARTS, WARM = 5, 5
THAWS = 3
FROZEN_SECONDS = 5.0
OLD, EDGE = "over botocore", "edge"
_HANDLERS = {OLD: "over_botocore.handler", EDGE: "start.handler"}
_REUSING = "reusing_botocore.handler"


@dataclass(frozen=True, slots=True)
class Far:
    """A stage at the other end of a line. environment: what a function is told to reach it."""

    stage: Stage
    line: Line
    environment: Mapping[str, str]

    def start(self, handler: str) -> contextlib.AbstractContextManager[Function]:
        """Start a function."""
        task = self.stage.task if handler == _HANDLERS[EDGE] else self.stage.old
        return function(handler, task, self.environment)


def tables() -> Iterator[Table]:
    """Yield the tables: by distance, and after a thaw."""
    for python, target in ((runtime_api.PYTHON, "make bench"), (ministack.PYTHON, "make test-dynamodb")):
        if not python.exists():
            sys.stderr.write(
                f"SKIPPED: there is no {python.parts[-3]} ({target} brings it); distances were NOT measured\n"
            )
            return
    with far() as one:
        yield _by_distance(one)
        yield _after_a_thaw(one)


@contextlib.contextmanager
def far() -> Iterator[Far]:
    """Put a stage behind TLS and a line."""
    with tempfile.TemporaryDirectory() as name, ministack.ministack() as url, stage(url, 2) as one:
        file, there = certificate(Path(name), "localhost"), urlsplit(url)
        with line((there.hostname or "", there.port or 0), file) as secure, line(secure.address) as long:
            place = {"AWS_ENDPOINT_URL": f"https://localhost:{long.address[1]}", "AWS_CA_BUNDLE": str(file)}
            yield Far(one, long, {**one.environment, **place})


@dataclass(slots=True)
class Times:
    """Milliseconds. start: from the process to its asking for an event. first, warm: of a call. refused: calls answered 503."""

    start: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    refused: int = 0

    def call(self, running: Function, event: Any, into: list[float]) -> None:  # noqa: ANN401  CloudFront's
        """Make a call, and note it."""
        answer = running.invoke(event)
        self.refused += "origin" not in answer
        into.append(running.seconds * 1000)


def _by_distance(one: Far) -> Table:
    found = {(name, distance): Times() for distance in DISTANCES for name in _HANDLERS}
    for (name, distance), times in [pair for _ in range(STARTS) for pair in found.items()]:
        one.line.round_trip = distance / 1000
        started = time.perf_counter()
        with one.start(_HANDLERS[name]) as running:
            running.wait()
            times.start.append((time.perf_counter() - started) * 1000)
            times.call(running, one.stage.event(0), times.first)
            for _ in range(WARM):
                times.call(running, one.stage.event(0), times.warm)
    one.line.round_trip = 0.0
    return Table(
        "By distance: a new instance, its first call and a warm one",
        ("there and back", "edge", "start ms", "first call ms", "round trips", "both ms", "warm ms", "503"),
        [_row(name, distance, times, found[name, 0]) for (name, distance), times in found.items()],
        (
            f"The least of {STARTS} starts, for other load only adds to them, and the median of {WARM} warm calls after each, through",
            "a proxy that delays each byte, and a new connection's first by one round trip more. Start: from the process to its",
            "asking for an event; a new instance's caller waits for both. Round trips: what the first call takes more than",
            "with no distance, over the distance.",
        ),
    )


def _row(name: str, distance: int, times: Times, near: Times) -> tuple[Cell, ...]:
    start, first, warm = min(times.start), min(times.first), statistics.median(times.warm)
    of = len(times.first) + len(times.warm)
    is_measured = distance and times.refused < of
    trips = f"{(first - min(near.first)) / distance:.1f}" if is_measured else ""
    return f"{distance} ms", name, start, first, trips, start + first, warm, f"{times.refused} of {of}"


def _after_a_thaw(one: Far) -> Table:
    kinds = {"botocore, as before": _REUSING, "over botocore": _HANDLERS[OLD], "edge": _HANDLERS[EDGE]}
    ways: dict[str, Callable[[], None]] = {
        "reset while frozen": one.line.reset,
        "reset at the first byte": one.line.disown,
        "silent": one.line.forget,
    }
    found: dict[tuple[str, str], Times] = {(way, kind): Times() for way in ways for kind in kinds}
    with contextlib.ExitStack() as stack:
        every = {kind: stack.enter_context(one.start(handler)) for kind, handler in kinds.items()}
        for way, loses in [pair for _ in range(THAWS) for pair in ways.items()]:
            for running in every.values():
                for _ in range(2):  # the second is sure to find connections that the first has left
                    running.invoke(one.stage.event(0))
            with contextlib.ExitStack() as frozen:
                for running in every.values():
                    frozen.enter_context(running.frozen())
                loses()
                time.sleep(FROZEN_SECONDS)
            for kind, running in every.items():
                times = found[way, kind]
                with contextlib.suppress(FunctionFailedError):
                    times.call(running, one.stage.event(0), times.first)
    return Table(
        f"After a thaw: the first call of a function that was frozen for {FROZEN_SECONDS:.0f} s, its connections gone",
        ("its connections", "edge", "call ms", "503"),
        [
            (way, kind, statistics.median(times.first), f"{times.refused} of {len(times.first)}")
            for (way, kind), times in found.items()
        ],
        (
            f"{THAWS} thaws of each, with no distance. As before: a client that uses connections however long they were idle.",
        ),
    )
