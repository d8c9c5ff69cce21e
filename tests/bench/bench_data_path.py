"""What the data path of one machine costs beside the least that a door can do, and beside others' doors."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tests.bench import doors
from tests.bench.doors import Door
from tests.bench.load import Callers, Done, Load, callers
from tests.bench.table import Cell, Table

ROUNDS = 7
MOST_FAILED = 0.02
"""The part of calls that may get a 503, as very few do with several workers on a busy machine; more is a broken bench."""
MOST_BUSY = 4
"""Processes that are busy at once: callers, provider and two workers."""
_TOO_FEW = ", which are too few to see how workers scale"
_HEADERS = """\
Accept: application/json
Accept-Encoding: gzip, deflate
Content-Type: application/json
User-Agent: OpenAI/Python 3.54.0
X-Stainless-Arch: x64
X-Stainless-Async: false
X-Stainless-Lang: python
X-Stainless-OS: Linux
X-Stainless-Package-Version: 3.54.0
X-Stainless-Read-Timeout: 600
X-Stainless-Retry-Count: 0
X-Stainless-Runtime: CPython
X-Stainless-Runtime-Version: 3.11.7
"""
"""What OpenAI's SDK for Python sends."""


@dataclass(frozen=True, slots=True)
class Case:
    """One way to call. calls: in each round, but for a door that takes a `share` of them. lines: of the head, further ones."""

    name: str
    stream: bool
    connections: int
    calls: int
    lines: str = ""

    def request(self, door: Door) -> bytes:
        """Return the bytes of one call."""
        body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}], "stream": self.stream}
        sent = json.dumps(body).encode()
        head = f"POST {door.path}/v1/chat/completions HTTP/1.1\nHost: edge\nAuthorization: Bearer {door.key}\n{door.headers}{self.lines}{_HEADERS}"
        return f"{head}Content-Length: {len(sent)}\n\n".replace("\n", "\r\n").encode() + sent


CASES = (
    Case("JSON, 1 connection", stream=False, connections=1, calls=200),
    Case("JSON, 32 connections", stream=False, connections=32, calls=1_200),
    Case("SSE, 1 connection", stream=True, connections=1, calls=60),
    Case("SSE, 32 connections", stream=True, connections=32, calls=640),
)


@dataclass(slots=True)
class ExchangeState:
    """What the rounds found of one case at one door."""

    done: list[Done]
    cpu: list[float]


def tables() -> Iterator[Table]:
    """Yield a table for each case."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        behind = stack.enter_context(doors.practising())
        bare = stack.enter_context(doors.bare(behind))
        one, two = (
            stack.enter_context(doors.keybroker(behind, directory / name, n)) for n, name in ((1, "one"), (2, "two"))
        )
        others = [
            stack.enter_context(doors.haproxy(behind, one, directory)),
            stack.enter_context(doors.litellm(behind, directory)),
        ]
        provider = Door(
            "practice provider alone", int(behind.provider.rpartition(":")[2]), "", behind.key, (behind.pid,)
        )
        there = [provider, bare, one, two, *(door for door in others if door)]
        found = _rounds(stack.enter_context(callers()), there)
    for case in CASES:
        of_case = {door.name: found[case, door] for door in there}
        yield _table(case, of_case, bare.name)


def _rounds(source: Callers, there: Sequence[Door]) -> dict[tuple[Case, Door], ExchangeState]:
    """Do every case at every door in turn, each round beginning with another; one round more goes ahead."""
    turns = [(case, door) for case in CASES for door in there]
    found = {turn: ExchangeState([], []) for turn in turns}
    for number in range(ROUNDS + 1):
        first = number * 5 % len(turns)
        for case, door in turns[first:] + turns[:first]:
            before, calls = door.cpu(), max(case.calls // door.share, case.connections)
            done = source.run(Load(door.port, case.request(door), case.connections, calls))
            if done.failed > calls * MOST_FAILED:
                raise RuntimeError(
                    f"{door.name}, {case.name}: {done.failed} of {calls} calls were not answered with 200"
                )
            if number:
                found[case, door].done.append(done)
                found[case, door].cpu.append((door.cpu() - before) / calls)
            if door.upkeep:
                door.upkeep.run()
    return found


def _table(case: Case, found: Mapping[str, ExchangeState], bare: str) -> Table:
    rates = {name: statistics.median(one.rate() for one in of_door.done) for name, of_door in found.items()}
    seconds = {
        name: sorted(chain.from_iterable(one.seconds for one in of_door.done)) for name, of_door in found.items()
    }
    middles = {name: statistics.median(ones) for name, ones in seconds.items()}
    rows: list[tuple[Cell, ...]] = []
    for name, of_door in found.items():
        failed = sum(one.failed for one in of_door.done) / len(seconds[name])
        rows.append(
            (
                name,
                rates[name],
                rates[name] / rates[bare] * 100,
                middles[name] * 1e3,
                seconds[name][len(seconds[name]) * 99 // 100] * 1e3,
                (middles[name] - middles[bare]) * 1e6,
                statistics.mean(of_door.cpu) * 1e6,
                f"{failed:.2%}",
            )
        )
    return Table(
        f"A call through each door to the practice provider: {case.name}",
        ("door", "a second", "% of bare", "p50 ms", "p99 ms", "p50 over bare µs", "its CPU µs a call", "not 200"),
        rows,
        (
            f"Median of {ROUNDS} interleaved rounds of {case.calls:,} calls; latencies of all of them. Callers and provider are",
            f"processes of their own on the same {os.cpu_count()} cores{_TOO_FEW if (os.cpu_count() or 1) < MOST_BUSY else ''}.",
        ),
    )
