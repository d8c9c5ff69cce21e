"""A door that opens WebSockets, over real sockets, before a provider that sends back what it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web

import edge
from local.simulator.answer_tally import AnswerTally
from local.simulator.running_calls import RunningCalls
from local.simulator.unsent import Unsent
from local.sqlite.running_state import SqliteRunningState
from tests.edge_door import door
from tests.parts import NOW, Parts

KEY = "sk-real-0123456789abcdef"
PATH = "/v1/realtime"
HANDSHAKE = (
    "Host: edge",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@dataclass
class Provider:
    """A provider that sends back what it is sent. seen: the headers of each handshake. open: WebSockets now."""

    seen: list[dict[str, str]] = field(default_factory=list)
    open: int = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a handshake, and what comes behind it."""
        self.seen.append({name.lower(): value for name, value in request.headers.items()})
        if "deny" in request.query:
            return web.json_response({"error": {"message": "no such model"}}, status=404)
        socket = web.WebSocketResponse(protocols=("realtime",), max_msg_size=0)
        await socket.prepare(request)
        self.open += 1
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT and message.data == "go away":
                    await socket.close(code=4001, message=b"gone")
                elif message.type is WSMsgType.TEXT:
                    await socket.send_str(message.data)
                else:
                    await socket.send_bytes(message.data)
        finally:
            self.open -= 1
        return socket


@dataclass
class Here:
    """What a test has: the door's port, the provider behind it, what the log says, and the time."""

    port: int
    provider: Provider
    parts: Parts
    log: list[str]
    now: list[int]
    session: aiohttp.ClientSession

    def connect(
        self, token: str = "", path: str = PATH, protocols: Sequence[str] = (), *, compress: int = 0, **headers: str
    ) -> aiohttp.client._WSRequestContextManager:
        """Open a WebSocket, as a client does that sets headers."""
        named = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"http://127.0.0.1:{self.port}/openai{path}"
        return self.session.ws_connect(
            url, headers={**named, **headers}, protocols=protocols, max_msg_size=0, compress=compress
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110  it is so once another task has run
                await asyncio.sleep(0.01)


@asynccontextmanager
async def opened(parts: Parts, answers: AnswerTally | None = None) -> AsyncIterator[Here]:
    """What a test has, while the door is open. answers: is kept by the test, if at all."""
    provider, application, log, now = Provider(), web.Application(), list[str](), [NOW]
    application.router.add_get("/{path:.*}", provider.serve)
    runner = web.AppRunner(application, shutdown_timeout=0.05, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    parts.set_key("openai", KEY, origin=f"http://localhost:{runner.addresses[0][1]}")
    unsent, running = Unsent(), RunningCalls(clock=lambda: now[0], log=log.append, period=0.02)
    ports = parts.edge_ports([])._replace(admitted=unsent.admitted)
    watching = asyncio.create_task(running.watch(lambda: SqliteRunningState(parts.state)))
    options = {
        "unsent": unsent,
        "running": running,
        "answers": answers,
        "allow_web_sockets": True,
        "read_timeout": None,
    }
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession() as session,
        door(edge.make_handler(lambda: ports), **options) as port,
    ):
        yield Here(port, provider, parts, log, now, session)
    watching.cancel()
    await runner.cleanup()


def during(parts: Parts, act: Callable[[Here], Awaitable[None]], answers: AnswerTally | None = None) -> None:
    """Let something happen while the door is open."""

    async def run() -> None:
        async with opened(parts, answers) as here:
            await act(here)

    asyncio.run(run())


async def echo(socket: aiohttp.ClientWebSocketResponse[Any], text: str = "hello") -> None:
    """Send a text, and get it back."""
    await socket.send_str(text)
    assert (await socket.receive()).data == text
