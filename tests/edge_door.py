"""A simulated CloudFront distribution with a test's origin, over real sockets, and viewers that send exact bytes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from chalicelib.edge.door import EdgeDoor
from local.simulator.cloudfront import make_distribution, make_runner
from local.simulator.edge_function import Handler
from tests.raw_provider import Answer, RawProvider, Seen, raw_provider

Serve = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
RawServe = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CHUNK = b"k" * 65_536
SHOWN = CHUNK * 17
"""More of a body than the function is shown before anything goes on."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def served(server: web.Server, runner: web.ServerRunner | None = None) -> AsyncIterator[int]:
    """The port of a server on loopback."""
    runner = runner or web.ServerRunner(server, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@asynccontextmanager
async def door(handler: Handler | EdgeDoor, **options: Any) -> AsyncIterator[int]:  # noqa: ANN401  make_distribution's
    """The port of a distribution that runs `handler`."""
    distribution = make_distribution(handler, **options)
    try:
        async with served(distribution, make_runner(distribution, grace=0.05)) as port:
            yield port
    finally:
        await distribution.close()


@asynccontextmanager
async def before(serve: Serve) -> AsyncIterator[int]:
    """The port of a distribution before an aiohttp origin that runs `serve`."""
    server = web.Server(serve, handler_cancellation=True, access_log=None, auto_decompress=False)
    async with asyncio.timeout(20), served(server) as origin, door(sending_to(origin)) as port:
        yield port


@asynccontextmanager
async def before_raw(serve: RawServe, *, within: float = 20, **custom: object) -> AsyncIterator[int]:
    """The port of a distribution before an origin that says exactly what the test makes it say, then closes."""

    async def close_after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(close_after, "127.0.0.1", 0)
    origin = sending_to(server.sockets[0].getsockname()[1], **custom)
    async with asyncio.timeout(within), server, door(origin) as port:
        yield port


def sending_to(port: int, **custom: object) -> Handler:
    """A function that sends every request on to the origin at that port."""

    def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
        request: dict[str, Any] = event["Records"][0]["cf"]["request"]
        request["origin"]["custom"] |= {"protocol": "http", "domainName": "localhost", "port": port} | custom
        request["headers"]["host"] = [{"key": "Host", "value": "localhost"}]
        return request

    return handler


@asynccontextmanager
async def viewer(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A viewer's connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


def head(start: str, *lines: str) -> bytes:
    """A request's or an answer's head."""
    return "\r\n".join((start, *lines, "", "")).encode()


def ask(start: str, *lines: str) -> bytes:
    """A request after which the connection is closed."""
    return head(f"{start} HTTP/1.1", "Host: edge", "Connection: close", *lines)


async def first_response(port: int, sent: bytes) -> tuple[list[str], bytes]:
    """Send bytes, read one response with a Content-Length, hang up: its head's lines, and its body."""
    async with viewer(port) as (reader, writer):
        writer.write(sent)
        start = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(start.lower().split("content-length: ")[1].split("\r\n")[0])
        return start.split("\r\n"), await reader.readexactly(length)


async def talk(port: int, sent: bytes) -> tuple[list[str], bytes]:
    """Send bytes, read until the connection ends: the lines of the answer's head, and what follows it."""
    async with viewer(port) as (reader, writer):
        writer.write(sent)
        start, _, rest = (await reader.read(-1)).partition(b"\r\n\r\n")
    return start.decode().split("\r\n"), rest


def code(answer: tuple[list[str], bytes]) -> tuple[str, str]:
    """Status and code of an error of the door itself."""
    return answer[0][0].split(" ")[1], json.loads(answer[1])["error"]["code"]


async def ok(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
    """Answer, as a provider, and stay."""
    writer.write(OK)
    return True


def through(serve: Callable[[RawProvider, int], Awaitable[None]], answer: Answer = ok) -> RawProvider:
    """Let something happen between viewers and a provider, with a door that asks nobody; return what the provider saw."""

    async def run() -> RawProvider:
        async with asyncio.timeout(30), raw_provider(answer) as provider, door(sending_to(provider.port)) as port:
            await serve(provider, port)
            return provider

    return asyncio.run(run())


async def answers(reader: asyncio.StreamReader, count: int) -> list[bytes]:
    """The bodies of so many answers, each of two bytes, in the order in which they came."""
    found = []
    for _ in range(count):
        start = await reader.readuntil(b"\r\n\r\n")
        assert start.startswith(b"HTTP/1.1 200 "), start
        found.append(await reader.readexactly(2))
    return found
