"""How many connections and calls the edge's door holds, and what it leaves to the others."""

from __future__ import annotations

import asyncio
import contextlib
import os

from tests.edge_door import ask, code, door, head, ok, sending_to, talk, viewer
from tests.raw_provider import Seen, raw_provider


def test_more_calls_than_places_are_refused() -> None:
    """Three quarters of the connections may have a call; one more is a 503 that was not counted, and idle ones make room."""
    counted = 0
    release = asyncio.Event()

    async def hold(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        await release.wait()
        return await ok(_seen, writer)

    async def run() -> None:
        nonlocal counted
        async with asyncio.timeout(20), raw_provider(hold) as provider:
            send_on = sending_to(provider.port)

            def count(event: object, context: object) -> object:
                nonlocal counted
                counted += 1
                return send_on(event, context)  # type: ignore[arg-type]

            async with door(count, connections=8) as port, contextlib.AsyncExitStack() as stack:  # type: ignore[arg-type]
                calls = [await stack.enter_async_context(viewer(port)) for _ in range(6)]
                for _, writer in calls:
                    writer.write(head("GET / HTTP/1.1", "Host: edge"))
                await provider.until(lambda: len(provider.seen) == 6)
                idle = [await stack.enter_async_context(viewer(port)) for _ in range(20)]
                answer = await talk(port, ask("GET /"))
                assert code(answer) == ("503", "too_many_calls")
                assert "retry-after: 1" in [line.lower() for line in answer[0]]
                assert counted == 6
                release.set()
                for reader, _ in calls:
                    assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
                assert len(idle) == 20

    asyncio.run(run())


def test_providers_leave_descriptors() -> None:
    """A connection to a provider that would take a descriptor kept for others is not made, and the call is a 502."""

    async def once(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(head("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close") + b"ok")
        return False

    async def run() -> None:
        async with asyncio.timeout(20), raw_provider(once) as provider:
            with contextlib.ExitStack() as stack:
                # Above all that are open: the lowest free one may be a gap, with none behind it for a while.
                limit = max(map(int, os.listdir("/proc/self/fd"))) + 64  # noqa: PTH208  names alone
                async with door(sending_to(provider.port), provider_below=limit) as port:
                    assert (await talk(port, ask("GET /")))[0][0].startswith("HTTP/1.1 200")
                    taken = 0
                    while taken < limit:
                        taken = os.open(os.devnull, os.O_RDONLY)
                        stack.enter_context(os.fdopen(taken))
                    assert code(await talk(port, ask("GET /"))) == ("502", "origin_unreachable")
                assert len(provider.seen) == 1

    asyncio.run(run())
