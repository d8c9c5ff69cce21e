"""What calls of one API cannot do to calls of the other: over the broker's real parts, with an issuer that hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector, web

import app
from chalicelib.admin.ports import AdminPorts
from chalicelib.http.ports import PublicPorts
from chalicelib.issuers.jwks import Jwks, get_json
from local.simulator.api_gateway import MOST_CONNECTIONS, QUEUE_LIMIT, make_gateway
from local.simulator.sigv4 import Caller
from tests import issuer_site
from tests.issuer_site import Site
from tests.parts import CI, mint, parts_in
from tests.running import JWT, TOKEN_EXCHANGE

WORKERS = 4
SLOTS = WORKERS + QUEUE_LIMIT
ADA = Caller("AKIDUSER", "123456789012", "arn:aws:iam::123456789012:user/ada", "AIDAADA")
EXCHANGE = {"grant_type": TOKEN_EXCHANGE, "subject_token_type": JWT, "audience": "openai"}
REVOCATION = {"scope": "issuer", "id": CI, "reason": "left the company"}

Ports = tuple[PublicPorts, AdminPorts]


@pytest.fixture
def site() -> Iterator[Site]:
    """An issuer that takes a request and says nothing until it is closed."""
    with issuer_site.serving() as one:
        one.answers[issuer_site.DISCOVERY] = issuer_site.silent
        yield one


@pytest.fixture
def ports(tmp_path: Path, site: Site) -> Iterator[Ports]:
    """Both doors' ports. Keys of every issuer are asked of the silent one, which takes a minute."""
    silent = site.url + issuer_site.DISCOVERY
    keys = Jwks(lambda _url, within: get_json(silent, within), deadline=60)
    with parts_in(tmp_path) as parts:
        public = parts.public_ports()
        yield replace(public, broker=replace(public.broker, keys=keys)), parts.admin_ports()


@asynccontextmanager
async def gateway(ports: Ports, connections: int = MOST_CONNECTIONS) -> AsyncIterator[ClientSession]:
    """A client of the gateway before both doors of the broker, with as many connections as it is asked for."""
    server = make_gateway(
        lambda: app.public_app(lambda: ports[0]),
        lambda: app.admin_app(lambda: ports[1]),
        lambda _request, _now: ADA,
        workers=WORKERS,
        connections=connections,
    )
    runner = web.ServerRunner(server)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=512).start()
        port = runner.addresses[0][1]
        async with ClientSession(f"http://127.0.0.1:{port}", connector=TCPConnector(limit=0)) as client:
            yield client
    finally:
        await runner.cleanup()


async def ask(client: ClientSession, path: str, body: dict[str, str]) -> int:
    """The status of a POST."""
    async with client.post(path, json=body) as response:
        return response.status


def test_revocation_while_every_slot_waits(ports: Ports, site: Site) -> None:
    """A revocation is answered while every public slot waits for an issuer."""

    async def run() -> None:
        async with asyncio.timeout(50), gateway(ports) as client:
            asked = [{**EXCHANGE, "subject_token": mint()} for _ in range(SLOTS + 1)]
            calls = [asyncio.create_task(ask(client, "/token", one)) for one in asked]
            done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            assert [call.result() for call in done] == [503]  # the one for which there is no place any more
            assert await ask(client, "/admin/revocations", REVOCATION) == 201
            assert not [call for call in waiting if call.done()], "they did not wait"
            site.closing.set()
            assert await asyncio.gather(*waiting) == [503] * SLOTS

    asyncio.run(run())


def test_busy_strangers_leave_room_for_a_revocation(ports: Ports, site: Site) -> None:
    """Where connections are few, a third of them at most waits for an issuer, and a revocation finds a place."""

    async def run() -> None:
        async with asyncio.timeout(50), gateway(ports, connections=9) as client:
            calls = [
                asyncio.create_task(ask(client, "/token", {**EXCHANGE, "subject_token": mint()})) for _ in range(4)
            ]
            done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            assert [call.result() for call in done] == [503]
            async with client.get("/healthz") as response:
                url = response.url
            idle = [await asyncio.open_connection(url.host, url.port) for _ in range(30)]
            assert await ask(client, "/admin/revocations", REVOCATION) == 201
            assert not [call for call in waiting if call.done()], "they were closed for the newcomers"
            site.closing.set()
            assert await asyncio.gather(*waiting) == [503] * 3
            for _, writer in idle:
                writer.close()

    asyncio.run(run())
