"""`GET /metrics` at an address of its own, in a thread of the parent process: no call waits for it, and no worker's end hides it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from aiohttp import web
from yarl import URL

from local.simulator.connections import Connection, Connections

PATH: Final = "/metrics"
MOST_CONNECTIONS: Final = 32
_START: Final = 5.0
"""Seconds that the thread may take to begin."""
_LOG: Final = logging.getLogger("keybroker")


class Page:
    """What answers there. text: returns the page, in the thread."""

    def __init__(self, listening: socket.socket, text: Callable[[], bytes], content_type: str) -> None:
        self._listening, self._text, self._content_type = listening, text, content_type
        self._is_local = ipaddress.ip_address(listening.getsockname()[0]).is_loopback
        self._began = threading.Event()
        self._end: Callable[[], object] = lambda: None

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Answer meanwhile."""
        thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="metrics", daemon=True)
        thread.start()
        self._began.wait(_START)
        try:
            yield
        finally:
            self._end()
            thread.join(_START)

    async def _serve(self) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        self._end = lambda: loop.call_soon_threadsafe(stop.set)
        runner = web.ServerRunner(_Server(self._respond), shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.SockSite(runner, self._listening).start()
            self._began.set()
            await stop.wait()
        finally:
            await runner.cleanup()

    async def _respond(self, request: web.BaseRequest) -> web.Response:
        # SECURITY: a page of the internet that a browser here has open is not to read it by a name that leads here
        # (test_a_name_that_leads_here_is_refused).
        if self._is_local and not _is_this_machine(request.headers.get("Host", "")):
            return web.Response(status=403, text="ask by an IP address or localhost\n")
        if request.raw_path.partition("?")[0] != PATH:
            return web.Response(status=404, text=f"see {PATH}\n")
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=405, text="GET\n", headers={"Allow": "GET, HEAD"})
        try:
            body = self._text()
        except Exception as fault:  # noqa: BLE001  the next scrape tries again; the text may hold anything
            _LOG.warning("numbers cannot be read: %s", type(fault).__name__)
            return web.Response(status=500, text="the numbers cannot be read; the log says why\n")
        return web.Response(body=body, headers={"Content-Type": self._content_type, "Cache-Control": "no-store"})


class _Server(web.Server):
    """A server of few connections, each of which has bounded time."""

    def __init__(self, respond: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        places = self._places = Connections("metrics", MOST_CONNECTIONS, MOST_CONNECTIONS // 2)

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            places.has_head(request.protocol)
            return await respond(request)

        super().__init__(handle)

    def __call__(self) -> web.RequestHandler:
        """Return one connection's protocol."""
        return Connection(self._places, self, loop=asyncio.get_running_loop(), access_log=None, keepalive_timeout=75.0)


def _is_this_machine(host: str) -> bool:
    try:
        name = URL(f"http://{host}").host or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
