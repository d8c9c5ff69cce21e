"""WebSockets through the edge, with a real server and a real client: admitted once, the key swapped, cut when they must end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web

import edge
from local.simulator import web_sockets
from local.simulator.running_calls import RunningCalls
from local.simulator.unsent import Unsent
from local.sqlite.running_state import SqliteRunningState
from tests.edge_door import code, door, head, sending_to, viewer
from tests.parts import NOW, SUB, Parts, claims_of, grant, parts_in

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
        self, token: str = "", path: str = PATH, protocols: Sequence[str] = (), **headers: str
    ) -> aiohttp.client._WSRequestContextManager:
        """Open a WebSocket, as a client does that sets headers."""
        named = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"http://127.0.0.1:{self.port}/openai{path}"
        return self.session.ws_connect(url, headers={**named, **headers}, protocols=protocols, max_msg_size=0)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110  it is so once another task has run
                await asyncio.sleep(0.01)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        made.apply(grant(scope=f'["GET:{PATH}", "GET:/v1/models"]', quota="{tokens: 100/hour, calls: [3/minute]}"))
        yield made


@asynccontextmanager
async def opened(parts: Parts) -> AsyncIterator[Here]:
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
    options = {"unsent": unsent, "running": running, "allow_web_sockets": True, "read_timeout": None}
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession() as session,
        door(edge.make_handler(lambda: ports), **options) as port,
    ):
        yield Here(port, provider, parts, log, now, session)
    watching.cancel()
    await runner.cleanup()


def during(parts: Parts, act: Callable[[Here], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened(parts) as here:
            await act(here)

    asyncio.run(run())


async def _echo(socket: aiohttp.ClientWebSocketResponse[Any], text: str = "hello") -> None:
    await socket.send_str(text)
    assert (await socket.receive()).data == text


def test_a_web_socket_is_one_call(parts: Parts) -> None:
    """The call is admitted and counted once, with the key in place of the token, and messages of any kind pass both ways."""
    token = parts.token()

    async def act(here: Here) -> None:
        async with here.connect(token, f"{PATH}?model=gpt-realtime", ["realtime"]) as socket:
            assert socket.protocol == "realtime"
            for _ in range(50):
                await _echo(socket)
            large = bytes(range(256)) * 8_192
            await socket.send_bytes(large)
            assert (await socket.receive()).data == large
        (seen,) = here.provider.seen
        assert (seen["authorization"], seen["sec-websocket-protocol"]) == (f"Bearer {KEY}", "realtime")
        assert token not in str(seen)
        await here.until(lambda: not here.provider.open)

    during(parts, act)
    assert parts.counted()["minute"] == (1, 0)


@pytest.mark.parametrize("prefix", ["openai-insecure-api-key.", "OpenAI-Insecure-API-Key."])
def test_a_token_among_the_protocols(parts: Parts, prefix: str) -> None:
    """A browser's client has its token among the protocols: it opens the call, and is not sent on; the other protocols are."""
    token = parts.token()

    async def act(here: Here) -> None:
        protocols = ["realtime", prefix + token, "openai-beta.realtime-v1"]
        async with here.connect(protocols=protocols) as socket:
            await _echo(socket)
        async with here.connect(protocols=[prefix + token]) as socket:
            assert socket.protocol is None
            await _echo(socket)
        first, second = here.provider.seen
        assert first["sec-websocket-protocol"] == "realtime, openai-beta.realtime-v1"
        assert "sec-websocket-protocol" not in second
        assert {one["authorization"] for one in here.provider.seen} == {f"Bearer {KEY}"}
        assert token not in str(here.provider.seen)

    during(parts, act)


@pytest.mark.parametrize(
    ("path", "protocols", "status"),
    [
        (PATH, [], 401),
        (PATH, ["openai-insecure-api-key.not-a-token"], 401),
        (PATH, ["openai-insecure-api-key.one", "openai-insecure-api-key.two"], 400),
        ("/v1/responses", ["TOKEN"], 403),
    ],
    ids=["none", "invalid", "two", "out-of-scope"],
)
def test_a_refusal_is_plain_http(parts: Parts, path: str, protocols: list[str], status: int) -> None:
    """A call that is refused gets an HTTP answer and no WebSocket, and nothing of it reaches the provider."""
    named = [one.replace("TOKEN", f"openai-insecure-api-key.{parts.token()}") for one in protocols]

    async def act(here: Here) -> None:
        with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
            await here.connect(path=path, protocols=named)
        assert raised.value.status == status
        assert here.provider.seen == []

    during(parts, act)


def test_a_limit_counts_web_sockets(parts: Parts) -> None:
    """Each is a call within the quota of calls: the fourth of three is a 429."""
    token = parts.token()

    async def act(here: Here) -> None:
        for _ in range(3):
            async with here.connect(token) as socket:
                await _echo(socket)
        with pytest.raises(aiohttp.WSServerHandshakeError, match="429"):
            await here.connect(token)

    during(parts, act)


def test_a_provider_s_no_is_handed_on(parts: Parts) -> None:
    """Where the provider opens none, its answer passes as every other does."""
    token = parts.token()

    async def act(here: Here) -> None:
        lines = (*HANDSHAKE, f"Authorization: Bearer {token}")
        async with viewer(here.port) as (reader, writer):
            writer.write(head(f"GET /openai{PATH}?deny=1 HTTP/1.1", *lines))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
            assert b"no such model" in await reader.read(65_536)

    during(parts, act)


def test_a_revoked_web_socket_ends(parts: Parts) -> None:
    """It ends once what it stands on is revoked, at the provider too; another's runs on."""
    token, other = parts.token(), parts.token(repository_id="77")

    async def act(here: Here) -> None:
        async with here.connect(token) as ends, here.connect(other) as runs_on:
            await _echo(ends)
            parts.revoke("principal", SUB)
            assert (await ends.receive()).type in (WSMsgType.CLOSED, WSMsgType.ERROR)
            assert ends.close_code in (1006, None)
            await here.until(lambda: here.provider.open == 1)
            await _echo(runs_on)

    during(parts, act)


def test_a_web_socket_ends_with_its_token(parts: Parts) -> None:
    """Its holder goes on asking, and so needs a token that is good; a stream of one call does not."""
    token = parts.token()

    async def act(here: Here) -> None:
        async with here.connect(token) as socket:
            here.now[0] = claims_of(token)["exp"] - 1
            await asyncio.sleep(0.1)
            await _echo(socket)
            here.now[0] += 1
            assert (await socket.receive()).type in (WSMsgType.CLOSED, WSMsgType.ERROR)
        await here.until(lambda: not here.provider.open)
        assert '"reason": "exp_past"' in here.log[0]

    during(parts, act)


def test_either_side_may_close(parts: Parts) -> None:
    """A close of the provider reaches the client with its code, and one of the client the provider."""
    token = parts.token()

    async def act(here: Here) -> None:
        async with here.connect(token) as socket:
            await socket.send_str("go away")
            assert (await socket.receive()).type is WSMsgType.CLOSE
            assert socket.close_code == 4001
        async with here.connect(token) as socket:
            await socket.close(code=1000)
        await here.until(lambda: not here.provider.open)

    during(parts, act)


def test_a_side_that_does_not_read_holds_up_the_other(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for one side is bounded: the other has to wait as well, and all arrives once it reads."""
    monkeypatch.setattr(web_sockets, "WAITING", 1_000)
    token, sent = parts.token(), bytes(range(256)) * 4_096

    async def act(here: Here) -> None:
        async with here.connect(token) as socket:
            for _ in range(20):
                await socket.send_bytes(sent)
            for _ in range(20):
                assert (await socket.receive()).data == sent

    during(parts, act)


@pytest.mark.parametrize(
    "lines",
    [
        [*HANDSHAKE[:2], "Upgrade: websocket, h2c", *HANDSHAKE[3:]],
        [*HANDSHAKE[:3], *HANDSHAKE[3:], "Upgrade: h2c"],
        ["Host: edge", *HANDSHAKE[2:]],
        [*HANDSHAKE[:3], "Sec-WebSocket-Version: 8", HANDSHAKE[4]],
        HANDSHAKE[:4],
        [*HANDSHAKE, HANDSHAKE[4]],
        [*HANDSHAKE, "Expect: 100-continue"],
        [*HANDSHAKE, "Content-Length: 0"],
    ],
    ids=["two-upgrades", "another", "no-connection", "version", "no-key", "two-keys", "expects", "length"],
)
def test_what_is_no_handshake_is_refused(parts: Parts, lines: list[str]) -> None:
    """A request that asks for a WebSocket in any other form than the standard's is a 400, and is not sent on."""
    token = parts.token()

    async def act(here: Here) -> None:
        sent = head(f"GET /openai{PATH} HTTP/1.1", *lines, f"Authorization: Bearer {token}")
        async with viewer(here.port) as (reader, writer):
            writer.write(sent)
            start = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            assert code((start, await reader.read(65_536))) == ("400", "malformed_request")
        assert here.provider.seen == []

    during(parts, act)


@pytest.mark.parametrize(
    "lines",
    [
        ["Upgrade: h2c", "Connection: Upgrade", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="],
        ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOp="],
        ["Upgrade: websocket", "Connection: Upgrade"],
        ["Connection: Upgrade", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="],
    ],
    ids=["another", "of-another-key", "of-no-key", "to-nothing"],
)
def test_a_101_for_anything_else_opens_nothing(lines: list[str]) -> None:
    """An origin whose 101 does not accept the viewer's own handshake may go on with HTTP: it is asked nothing unseen."""

    async def origin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head("HTTP/1.1 101 Switching Protocols", *lines))
        await reader.read()
        writer.close()

    async def act() -> None:
        server = await asyncio.start_server(origin, "127.0.0.1", 0)
        to_origin = sending_to(server.sockets[0].getsockname()[1])
        async with (
            asyncio.timeout(10),
            server,
            door(to_origin, allow_web_sockets=True) as port,
            viewer(port) as streams,
        ):
            reader, writer = streams
            writer.write(head(f"GET /openai{PATH} HTTP/1.1", *HANDSHAKE))
            assert (await reader.read(65_536)).startswith(b"HTTP/1.1 502 ")

    asyncio.run(act())
