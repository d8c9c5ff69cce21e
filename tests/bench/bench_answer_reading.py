"""What it costs the data path to read what answers say of their usage: three doors, two of which do not, in one run."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from local import worker
from local.simulator.answer_tally import AnswerTally
from tests.bench import doors
from tests.bench.doors import Door
from tests.bench.load import Callers, Load, callers
from tests.bench.table import Cell, Table

ROUNDS: Final = 15
CONNECTIONS: Final = 8
_USAGE: Final = {"prompt_tokens": 120, "completion_tokens": 30, "prompt_tokens_details": {"cached_tokens": 100}}
_MODEL: Final = "gpt-5-mini-2025-08-07"


def _document(size: int) -> bytes:
    """An answer of about so many bytes, with usage at its end, as OpenAI's have it."""
    message = {"role": "assistant", "content": "a word and another " * (size // 19), "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return json.dumps({"id": "chatcmpl-1", "model": _MODEL, "choices": [choice], "usage": _USAGE}).encode()


def _events(count: int) -> list[bytes]:
    """The events of a stream, each with a word."""
    chunk = {"id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", "object": "chat.completion.chunk", "model": _MODEL}
    delta = {"choices": [{"index": 0, "delta": {"content": " word"}, "logprobs": None, "finish_reason": None}]}
    said = [json.dumps({**chunk, **delta, "usage": None})] * count + [
        json.dumps({**chunk, "choices": [], "usage": _USAGE}),
        "[DONE]",
    ]
    return [f"data: {one}\n\n".encode() for one in said]


CASES: Final[dict[str, tuple[int, Callable[[], list[bytes]], str]]] = {
    "JSON, 1 KB": (400, lambda: [_document(1_000)], ""),
    "JSON, 16 KB": (400, lambda: [_document(16_000)], ""),
    "JSON, 16 KB, gzip": (400, lambda: [gzip.compress(_document(16_000))], "gzip"),
    "JSON, 256 KB": (200, lambda: [_document(256_000)], ""),
    "JSON, 4 MB": (20, lambda: [_document(4_000_000)], ""),
    "SSE, 20 events": (300, lambda: _events(20), ""),
    "SSE, 300 events": (40, lambda: _events(300), ""),
    "SSE, 3,000 events": (6, lambda: _events(3_000), ""),
}
"""By name: calls in a round, what the provider answers, piece by piece, and how that is encoded."""


def tables() -> Iterator[Table]:
    """Yield the table."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        behind = stack.enter_context(doors.practising(_provide))
        reads = stack.enter_context(doors.keybroker(behind, directory / "reads", 1))
        not_ = stack.enter_context(doors.keybroker(behind, directory / "not", 1, serve_unread))
        neither = stack.enter_context(doors.keybroker(behind, directory / "neither", 1, serve_unread))
        found = _rounds(stack.enter_context(callers()), (not_, reads, neither))
    rows: list[tuple[Cell, ...]] = []
    for name, rounds in found.items():
        without, with_ = (statistics.median(one[door] for one in rounds) * 1e6 for door in (0, 1))
        more, noise = (statistics.median(one[door] / one[0] for one in rounds) - 1 for door in (1, 2))
        rows.append((name, without, with_, with_ - without, f"{more:+.1%}", f"{noise:+.1%}"))
    yield Table(
        "Reading usage from answers: CPU time of a worker for a call",
        ("answer", "not read, µs", "read, µs", "more, µs", "median of the rounds' ratios", "null run"),
        rows,
        (
            f"Median of {ROUNDS} rounds, in which all three doors have each case in turn, over {CONNECTIONS} connections, before the same",
            "provider, which sends each event of a stream by itself. With what is written to the state once a second.",
            "Null run: the same ratio of a second door that reads nothing. What is not above it is noise.",
        ),
    )


def _rounds(source: Callers, three: tuple[Door, ...]) -> dict[str, list[tuple[float, ...]]]:
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in CASES}
    for number in range(ROUNDS + 1):
        for index, (name, (calls, _, _)) in enumerate(CASES.items()):
            taken: dict[str, float] = {}
            for door in three[number % 3 :] + three[: number % 3]:
                before = _cpu(door)
                done = source.run(Load(door.port, _request(door, index), CONNECTIONS, calls))
                if done.failed:
                    raise RuntimeError(f"{name}: {done.failed} calls were not answered with 200")
                taken[door.key] = (_cpu(door) - before) / calls
            if number:
                found[name].append(tuple(taken[door.key] for door in three))
    return found


def _cpu(door: Door) -> float:
    """CPU seconds of a door so far, of all its threads, to the nanosecond."""
    tasks = (task for pid in door.pids for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _request(door: Door, case: int) -> bytes:
    head = f"POST {door.path}/v1/chat/completions?case={case} HTTP/1.1\nHost: edge\nAuthorization: Bearer {door.key}\n"
    return f"{head}Accept-Encoding: gzip\nContent-Length: 2\n\n".replace("\n", "\r\n").encode() + b"{}"


def serve_unread(job: worker.Job, *lines: object) -> None:
    """Serve as a worker does, and read no answer."""
    AnswerTally.reading = lambda *_: contextlib.nullcontext(lambda _piece: None)  # type: ignore[method-assign]
    AnswerTally.take = lambda *_, **__: None  # type: ignore[method-assign]
    worker.serve(job, *lines)  # type: ignore[arg-type]  # what `doors` gives it


def _provide(listening: socket.socket) -> None:
    """Serve as a provider that answers each case as it says."""
    asyncio.run(_answer_all(listening))


async def _answer_all(listening: socket.socket) -> None:
    cases = [[*_framed(make(), encoding)] for _, make, encoding in CASES.values()]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(2)
                for piece in cases[int(head.partition(b"case=")[2].partition(b" ")[0])]:
                    writer.write(piece)
                    await asyncio.sleep(0)
                await writer.drain()

    async with await asyncio.start_server(answer, sock=listening):
        await asyncio.Event().wait()


def _framed(pieces: list[bytes], encoding: str) -> Iterator[bytes]:
    if len(pieces) == 1:
        lines = f"Content-Type: application/json\r\nContent-Length: {len(pieces[0])}\r\n"
        yield _head(lines + f"Content-Encoding: {encoding}\r\n" * bool(encoding)) + pieces[0]
        return
    yield _head("Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n")
    yield from (b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    yield b"0\r\n\r\n"


def _head(lines: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode()
