"""Runs a practice application on an event loop in a separate thread, for SDKs that block."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future

from aiohttp import web

KEYS = {"openai": "sk-real-openai", "anthropic": "sk-ant-real", "generic": "real-generic"}
PATIENCE = 10.0
"""Seconds until a test gives up waiting."""


@contextlib.contextmanager
def serving(app: web.Application) -> Iterator[str]:
    """Serve the application on a free loopback port, on a loop in a thread of its own; yield its address."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, str]] = Future()

    async def serve() -> None:
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stop = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), stop, f"http://127.0.0.1:{runner.addresses[0][1]}"))
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    loop, stop, url = started.result(PATIENCE)
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
