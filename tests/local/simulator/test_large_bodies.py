from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

import app
from chalicelib.errors import BodyTooLarge
from chalicelib.exchange.request import BODY_LIMIT
from local.simulator import api_gateway
from local.simulator.api_gateway import make_gateway
from local.simulator.large_bodies import MOST, SMALL, LargeBodies, NoPlaceError
from local.simulator.sigv4 import Caller
from local.worker import BODY_LIMITS
from tests.parts import parts_in

ADA = Caller("AKIDUSER", "123456789012", "arn:aws:iam::123456789012:user/ada", "AIDAADA")
POLICY = "/admin/policy/validate"


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def within() -> None:
        async with asyncio.timeout(20):
            await scenario

    asyncio.run(within())


def with_gateway(directory: Path, scenario: Any) -> None:  # noqa: ANN401  takes the gateway and its port
    """Run a scenario with the gateway before the broker's real doors."""

    async def serve() -> None:
        with parts_in(directory) as parts:
            public, admin = parts.public_ports(), parts.admin_ports()
            gateway = make_gateway(
                lambda: app.public_app(lambda: public),
                lambda: app.admin_app(lambda: admin),
                lambda _request, _now: ADA,
                body_limits=BODY_LIMITS,
            )
            runner = web.ServerRunner(gateway, shutdown_timeout=0.1)
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                await scenario(gateway, int(runner.addresses[0][1]))
            finally:
                await runner.cleanup()

    run(serve())


def half_sent(path: str, size: int) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode() + b"x"


async def status(reader: asyncio.StreamReader) -> str:
    return (await reader.readline()).decode().split(" ")[1]


@pytest.mark.slow
def test_a_route_takes_what_it_needs(tmp_path: Path) -> None:
    """A body that is larger than its route's limit is refused before it has arrived, as the route itself would."""
    assert BODY_LIMITS["POST", "/token"] == BODY_LIMIT <= SMALL

    async def scenario(_gateway: object, port: int) -> None:
        for path, size in (("/token", BODY_LIMIT + 1), (POLICY, BODY_LIMITS["POST", POLICY] + 1)):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(half_sent(path, size))
            assert await status(reader) == "413"
            assert BodyTooLarge(size - 1).description in (await reader.read(-1)).decode()
            writer.close()

    with_gateway(tmp_path, scenario)


def test_no_body_is_read_without_a_place(tmp_path: Path) -> None:
    """A request that would find no slot is refused before its body has arrived."""

    async def scenario(gateway: api_gateway.Gateway, port: int) -> None:
        slots = gateway._public.slots
        with contextlib.ExitStack() as held:
            while slots.acquire(blocking=False):
                held.callback(slots.release)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(half_sent("/token", 100))
            assert await status(reader) == "503"
            writer.close()

    with_gateway(tmp_path, scenario)


def test_slow_senders_keep_no_policy_out(tmp_path: Path) -> None:
    """However many strangers send large bodies slowly, a newcomer's arrives: the one that is longest at it gives way."""
    large = {"text": "x" * (2 * SMALL)}

    async def scenario(_gateway: object, port: int) -> None:
        slow = []
        for _ in range(MOST):
            slow.append(await asyncio.open_connection("127.0.0.1", port))
            slow[-1][1].write(half_sent(POLICY, 2 * SMALL))
            await slow[-1][1].drain()
        async with ClientSession(f"http://127.0.0.1:{port}") as client:
            first = None
            while first is None:  # until all of them are being read
                async with client.post(POLICY, json=large) as answer:
                    assert answer.status == 422
                first = slow[0][0] if slow[0][0]._buffer else None  # type: ignore[attr-defined]
        assert await status(slow[0][0]) == "408"
        for _, writer in slow:
            writer.close()

    with_gateway(tmp_path, scenario)


def test_places() -> None:
    """A newcomer takes the oldest arriving body's place; one that has arrived keeps it until its request is done."""

    async def arrive_slowly(places: LargeBodies) -> None:
        async with asyncio.timeout(10) as deadline:
            with places.place(deadline):
                await asyncio.sleep(10)

    async def scenario() -> None:
        places = LargeBodies(2)
        async with asyncio.timeout(10) as deadline, asyncio.timeout(10) as another:
            with places.place(deadline) as arrived:
                arrived()
                slow = asyncio.create_task(arrive_slowly(places))
                await asyncio.sleep(0)
                with places.place(another) as also_arrived:
                    also_arrived()
                    with pytest.raises(NoPlaceError), places.place(another):
                        pass
                    with pytest.raises(TimeoutError):
                        await slow
            with places.place(another):
                pass

    run(scenario())
