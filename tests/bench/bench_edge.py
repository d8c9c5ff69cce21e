"""What the edge function costs on Lambda's runtime: its zip as it is deployed, under AWS's own loop, over ministack."""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench import runtime_api
from tests.bench.edge_stage import Stage, stage
from tests.bench.runtime_api import Event, function
from tests.bench.table import Cell, Table
from tests.integration import ministack

STARTS = 15
ROUNDS, AHEAD = 400, 40
"""Events of each kind to one warm function, in turns; and how many go ahead uncounted."""
TOKENS = ROUNDS + AHEAD + 1
SHARE = 0.29
"""The share of a core that Lambda gives to 512 MB."""
BARE_START, OLD_START, EDGE_START = "bare: PyJWT", "over botocore", "edge"
OLD, SAME, ANOTHER, DECODE = (
    *("over botocore, the same token again", "edge, the same token again", "edge, another token each time"),
    "bare: jwt.decode ES256",
)
_HANDLERS = {BARE_START: "bare.handler", OLD_START: "over_botocore.handler", EDGE_START: "start.handler"}


@dataclass(slots=True)
class Warm:
    """What events of one kind took. own: CPU seconds, of all threads. requests: of each event. refused: left out of these."""

    seconds: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    requests: list[tuple[str, ...]] = field(default_factory=list)
    refused: int = 0

    def add(self, seconds: float, answer: Mapping[str, Any]) -> None:
        """Add an event's answer."""
        if not answer.get("goes_on", True):
            self.refused += 1
            return
        self.seconds.append(seconds)
        self.own.append(answer["own"])
        self.requests.append(tuple(answer.get("requests", ())))


def tables() -> Iterator[Table]:
    """Yield the tables: starts, starts over TLS, and warm events; at a whole core, and at a share of one."""
    for python, target in ((runtime_api.PYTHON, "make bench"), (ministack.PYTHON, "make test-dynamodb")):
        if not python.exists():
            sys.stderr.write(
                f"SKIPPED: there is no {python.parts[-3]} ({target} brings it); the edge was NOT measured\n"
            )
            return
    with ministack.ministack() as url, stage(url, TOKENS) as one:
        yield _cold(one, None)
        yield _cold(one, None, tls=True)
        yield _warm(one, None)
        with runtime_api.share_of_a_core(SHARE) as group:
            if group is None:
                sys.stderr.write("SKIPPED: this machine allows no control group; 0.29 of a core was NOT measured\n")
                return
            yield _cold(one, group)
            yield _cold(one, group, tls=True)
            yield _warm(one, group)


def _at(group: Path | None) -> str:
    return f", at {SHARE} of a core" if group else ", at a whole core"


@dataclass(slots=True)
class Cold:
    """What starts took: seconds from the process to the first answer, CPU seconds until then, bytes held then."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)


def _cold(one: Stage, group: Path | None, *, tls: bool = False) -> Table:
    found = {name: Cold() for name in _HANDLERS}
    for number in range(STARTS + 1):
        for name in list(_HANDLERS) if number % 2 else list(_HANDLERS)[::-1]:
            started = time.perf_counter()
            task = one.old if name == OLD_START else one.task
            with function(_HANDLERS[name], task, one.over_tls if tls else one.environment, group) as running:
                answer = running.invoke(one.event(number))
                took = time.perf_counter() - started
                admitted = name == BARE_START or "origin" in answer
                if number and admitted:  # one round more goes ahead
                    found[name].seconds.append(took)
                    found[name].cpu.append(running.cpu())
                    found[name].resident.append(running.resident())
    return Table(
        f"A cold start of the edge function{', over TLS' if tls else ''}: process to first answer{_at(group)};"
        f" a zip of {one.size / 2**20:.1f} MiB",
        ("case", "median ms", "x bare", "least ms", "x bare", "CPU ms", "x bare", "RSS MiB"),
        [_cold_row(name, cold, found[BARE_START]) for name, cold in found.items()],
        (f"{STARTS} interleaved rounds. The edge's first call reads its signing key, state and the provider key.",),
    )


def _cold_row(name: str, cold: Cold, bare: Cold) -> tuple[Cell, ...]:
    measures = ((statistics.median, "seconds"), (min, "seconds"), (statistics.median, "cpu"))
    cells: list[Cell] = [name]
    for measure, what in measures:
        own = measure(getattr(cold, what))
        cells += [own * 1000, f"{own / measure(getattr(bare, what)):.2f}"]
    return *cells, statistics.median(cold.resident) / 2**20


def _warm(one: Stage, group: Path | None) -> Table:
    found = {name: Warm() for name in (OLD, SAME, ANOTHER, DECODE)}
    with (
        function("measured.handler", one.task, one.environment, group) as running,
        function("measured_botocore.handler", one.old, one.environment, group) as over_botocore,
    ):
        for number in range(-AHEAD, ROUNDS):
            kinds: dict[str, Event] = {
                OLD: one.event(-1),
                SAME: one.event(-1),  # none of the others
                ANOTHER: one.event(number + AHEAD),
                DECODE: {"decode": one.tokens[number], "jwk": {**one.jwk}},
            }
            for name in itertools.islice(itertools.cycle(kinds), number % 4, number % 4 + 4):
                function_of = over_botocore if name == OLD else running
                answer = function_of.invoke(kinds[name])
                if number >= 0:
                    found[name].add(function_of.seconds, answer)
        resident = running.resident()
    bare = statistics.median(found[DECODE].own)
    return Table(
        f"A call at a warm edge function, over ministack{_at(group)}",
        ("case", "p50 ms", "p99 ms", "CPU µs", "x decode", "503", "requests"),
        [_row(name, warm, bare) for name, warm in found.items()],
        (
            f"{ROUNDS} of each, in turns. ms: from the event's being handed out to its answer, nearly all of it ministack's.",
            "CPU: of the whole handler with all its requests; medians. 503: the state was not read within a second, for",
            "others were on the cores.",
            f"The edge holds {resident / 2**20:.0f} MiB after {(len(found) - 1) * (ROUNDS + AHEAD):,} events.",
        ),
    )


def _row(name: str, warm: Warm, bare: float) -> tuple[Cell, ...]:
    own = statistics.median(warm.own)
    ordered = sorted(warm.seconds)
    times = statistics.median(ordered) * 1000, ordered[len(ordered) * 99 // 100] * 1000
    put_off = f"{warm.refused / (warm.refused + len(ordered)):.1%}"
    return name, *times, own * 1e6, f"{own / bare:.2f}", put_off, _requests(warm.requests)


def _requests(every: Sequence[tuple[str, ...]]) -> str:
    """Say which requests each event made; what differs from event to event is told with how often it was."""
    kinds = Counter(every)
    texts = {kind: ", ".join(f"{count} {one}" for one, count in Counter(kind).items()) for kind in kinds}
    return "; ".join(texts[kind] + (f" ({count} times)" if len(kinds) > 1 else "") for kind, count in kinds.items())
