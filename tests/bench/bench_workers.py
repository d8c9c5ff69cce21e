"""Whether workers scale to the cores: callers and a provider that cost next to nothing leave the cores to the door."""

from __future__ import annotations

import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tests.bench import doors
from tests.bench.bench_data_path import CASES, MOST_FAILED
from tests.bench.doors import Door, Practice
from tests.bench.table import Table

ROUNDS, SECONDS = 7, 3
CONNECTIONS = 64
_WORKERS = sorted({1, 2, min(4, os.cpu_count() or 1)})
_ANSWERING = """\
frontend provider
  bind 127.0.0.1:{port}
  http-request return status 200 content-type application/json lf-string '{answer}'
"""
_ANSWER = {"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-5-mini", "choices": [], "usage": {}}


def tables() -> Iterator[Table]:
    """Yield the one table, if the programs are here that it takes."""
    for program, package in (("wrk", "wrk"), ("haproxy", "haproxy")):
        if doors.found(program) is None:
            sys.stderr.write(
                f"SKIPPED: {program} is not installed here (Debian's package {package}); workers were NOT measured\n"
            )
            return
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        behind = stack.enter_context(_canned(stack.enter_context(doors.practising()), directory))
        there = [stack.enter_context(doors.bare(behind))]
        there += [stack.enter_context(doors.keybroker(behind, directory / str(n), n)) for n in _WORKERS]
        yield _table(_rounds(there, directory))


@contextlib.contextmanager
def _canned(behind: Practice, directory: Path) -> Iterator[Practice]:
    """Start a provider that answers every call with the same few bytes: HAProxy, in one thread."""
    config, port = directory / "provider.cfg", doors.free_port()
    config.write_text(doors.HAPROXY + _ANSWERING.format(port=port, answer=json.dumps(_ANSWER)))
    with doors.started([str(doors.found("haproxy")), "-db", "-f", str(config)], port):
        yield replace(behind, provider=f"http://127.0.0.1:{port}")


def _rounds(there: Sequence[Door], directory: Path) -> Mapping[str, list[tuple[float, float]]]:
    """Return, for each door and round, calls a second and CPU seconds a call; one round more goes ahead."""
    found: dict[str, list[tuple[float, float]]] = {door.name: [] for door in there}
    for number in range(ROUNDS + 1):
        for door in [*there[number % len(there) :], *there[: number % len(there)]]:
            before = door.cpu()
            done = _wrk(door, directory / "call.lua")
            if number:
                found[door.name].append((done / SECONDS, (door.cpu() - before) / done))
            if door.upkeep:
                door.upkeep.run()
    return found


def _wrk(door: Door, script: Path) -> int:
    """Call a door for some seconds, and return how many calls were answered with 200; a few may not be."""
    head, _, body = CASES[0].request(door).decode().partition("\r\n\r\n")
    line, *headers = head.split("\r\n")
    named = dict(header.split(": ", 1) for header in headers if not header.startswith("Content-Length"))
    fields = "".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}\n" for name, value in named.items())
    script.write_text(
        f"wrk.method = 'POST'\nwrk.path = {json.dumps(line.split(' ')[1])}\nwrk.body = {json.dumps(body)}\n{fields}"
    )
    command = [str(doors.found("wrk")), "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(script)]
    said = subprocess.run(
        [*command, f"http://127.0.0.1:{door.port}"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    made = int(re.search(r"(\d+) requests in", said)[1])  # type: ignore[index]  # wrk's own form
    failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", said)))
    if failed > made * MOST_FAILED or "Socket errors" in said:
        raise RuntimeError(f"{door.name}: {failed} of {made} calls were not answered with 200\n{said}")
    return made - failed


def _table(found: Mapping[str, list[tuple[float, float]]]) -> Table:
    rates = {name: statistics.median(rate for rate, _ in rounds) for name, rounds in found.items()}
    bare, one, *_ = rates.values()
    rows = [
        (name, rate, f"{rate / bare:.2f}", f"{rate / one:.2f}", statistics.mean(cpu for _, cpu in found[name]) * 1e6)
        for name, rate in rates.items()
    ]
    return Table(
        f"Workers: JSON, {CONNECTIONS} connections, from wrk, to a provider that is HAProxy and answers the same few bytes",
        ("door", "a second", "x bare", "x 1 worker", "its CPU µs a call"),
        rows,
        (
            f"Median of {ROUNDS} interleaved rounds of {SECONDS} s. Callers and provider take some of the same {os.cpu_count()} cores, too,",
            "but a tenth of what a worker does.",
        ),
    )
