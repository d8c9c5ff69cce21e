"""What opens a WebSocket: a handshake of one form, a token in its place, a scope of its own, and the provider's yes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.edge_door import ask, code, door, head, sending_to, talk, viewer
from tests.parts import Parts, grant, parts_in
from tests.web_socket_door import HANDSHAKE, KEY, PATH, Here, during, echo


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        made.apply(
            grant(scope=f'["WEBSOCKET:{PATH}", "GET:/v1/models"]', quota="{tokens: 100/hour, calls: [3/minute]}")
        )
        yield made


@pytest.mark.parametrize("prefix", ["openai-insecure-api-key.", "OpenAI-Insecure-API-Key."])
def test_a_token_among_the_protocols(parts: Parts, prefix: str) -> None:
    """A browser's client has its token among the protocols: it opens the call, and is not sent on; the other protocols are."""
    token = parts.token()

    async def act(here: Here) -> None:
        protocols = ["realtime", prefix + token, "openai-beta.realtime-v1"]
        async with here.connect(protocols=protocols) as socket:
            await echo(socket)
        async with here.connect(protocols=[prefix + token]) as socket:
            assert socket.protocol is None
            await echo(socket)
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


@pytest.mark.parametrize("scope", [f"GET:{PATH}", "GET:/v1/*", "GET:/v1/**", f"POST:{PATH}"])
def test_a_get_scope_opens_no_web_socket(parts: Parts, scope: str) -> None:
    """A scope for reading opens no conversation: a WebSocket has a word of its own, and the refusal says which."""
    parts.apply(grant(scope=f'["{scope}"]'))
    token = parts.token()

    async def act(here: Here) -> None:
        async with viewer(here.port) as (reader, writer):
            writer.write(head(f"GET /openai{PATH} HTTP/1.1", *HANDSHAKE, f"Authorization: Bearer {token}"))
            start = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            body = await reader.read(65_536)
        assert code((start, body)) == ("403", "insufficient_scope")
        assert f"WEBSOCKET {PATH}" in body.decode()
        assert here.provider.seen == []

    during(parts, act)


@pytest.mark.parametrize(("method", "status"), [("GET", "403"), ("WEBSOCKET", "400")])
def test_a_web_socket_scope_opens_nothing_else(parts: Parts, method: str, status: str) -> None:
    """Without a handshake its path is closed, and nobody can send the word itself as a method."""
    token = parts.token()

    async def act(here: Here) -> None:
        answer = await talk(here.port, ask(f"{method} /openai{PATH}", f"Authorization: Bearer {token}"))
        assert answer[0][0].split(" ")[1] == status
        assert here.provider.seen == []

    during(parts, act)


def test_a_grant_with_models_opens_no_web_socket(parts: Parts) -> None:
    """Its messages may name any model, and nobody reads them before they are sent."""
    parts.apply(grant(scope=f'["WEBSOCKET:{PATH}"]', models="[gpt-realtime]"))
    token = parts.token()

    async def act(here: Here) -> None:
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await here.connect(token, f"{PATH}?model=gpt-realtime")
        assert here.provider.seen == []

    during(parts, act)


def test_a_limit_counts_web_sockets(parts: Parts) -> None:
    """Each is a call within the quota of calls: the fourth of three is a 429."""
    token = parts.token()

    async def act(here: Here) -> None:
        for _ in range(3):
            async with here.connect(token) as socket:
                await echo(socket)
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


@pytest.mark.parametrize(
    "lines",
    [
        [*HANDSHAKE[:2], "Upgrade: websocket, h2c", *HANDSHAKE[3:]],
        [*HANDSHAKE[:3], *HANDSHAKE[3:], "Upgrade: h2c"],
        ["Host: edge", *HANDSHAKE[2:]],
        [*HANDSHAKE[:3], "Sec-WebSocket-Version: 8", HANDSHAKE[4]],
        HANDSHAKE[:4],
        [*HANDSHAKE, HANDSHAKE[4]],
        [*HANDSHAKE[:4], "Sec-WebSocket-Key:"],
        [*HANDSHAKE[:4], "Sec-WebSocket-Key: c2hvcnQ="],
        [*HANDSHAKE, "Expect: 100-continue"],
        [*HANDSHAKE, "Content-Length: 0"],
    ],
    ids=[
        "two-upgrades",
        "another",
        "no-connection",
        "version",
        "no-key",
        "two-keys",
        "empty-key",
        "short-key",
        "expects",
        "length",
    ],
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
