"""What load balancers ask: whether a gateway runs, and whether it should get calls."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiohttp import ClientSession, web

from chalicelib.errors import StateUnavailable
from local.simulator.api_gateway import make_gateway
from local.simulator.health import Health
from local.simulator.sigv4 import Caller
from tests.edge_door import ask, door, talk


async def fine() -> None:
    """A look at a state that answers."""


async def away() -> None:
    raise StateUnavailable


async def late() -> None:
    raise TimeoutError


def never(_event: object, _context: object) -> dict[str, object]:
    raise AssertionError("the function was called")


def asked(health: Health | None, *requests: bytes) -> list[tuple[str, bytes]]:
    """The status line and the body of each answer."""

    async def scenario() -> list[tuple[str, bytes]]:
        async with asyncio.timeout(10), door(never, health=health) as port:
            answers = [await talk(port, one) for one in requests]
            return [(answer[0][0].split(" ")[1], answer[1]) for answer in answers]

    return asyncio.run(scenario())


def test_a_gateway_runs_before_it_is_ready() -> None:
    """Until its state was seen, a gateway runs and is not ready."""
    assert asked(Health(), ask("GET /healthz"), ask("GET /readyz?x=1")) == [
        ("200", b"running\n"),
        ("503", b"starting\n"),
    ]


@pytest.mark.parametrize("fault", [away, late])
def test_ready_while_the_state_answers(fault: object, caplog: pytest.LogCaptureFixture) -> None:
    """It is ready while the state answers, not while it is out of reach, and ready again; each change is one log line."""
    caplog.set_level(logging.WARNING)
    health, said = Health(), []

    async def scenario() -> None:
        for look in (fine, fault, fault, fine):
            await health.see(look)  # type: ignore[arg-type]  # a parameter of the test
            said.append(health.says)

    asyncio.run(scenario())
    assert said == ["ready", "state out of reach", "state out of reach", "ready"]
    assert len(caplog.records) == 2


def test_one_that_drains_is_not_ready() -> None:
    """Once it drains it is not ready any more, whatever the state says; it still runs."""
    health = Health()
    health.drain()
    asyncio.run(health.see(fine))
    assert asked(health, ask("HEAD /readyz"), ask("GET /healthz")) == [("503", b""), ("200", b"running\n")]


def test_who_asks_reads_no_state() -> None:
    """A flood of questions looks at the state not once more: `watch` alone does."""
    looks: list[int] = []
    health = Health()

    async def look() -> None:
        looks.append(1)

    asyncio.run(health.see(look))
    asked(health, *[ask("GET /readyz")] * 20)
    assert looks == [1]


def test_a_watch_goes_on() -> None:
    """The state is looked at again and again until the watch is cancelled."""
    health, looks = Health(), []

    async def scenario() -> None:
        enough = asyncio.Event()

        async def look() -> None:
            looks.append(1)
            if len(looks) == 3:
                enough.set()
            raise StateUnavailable

        async with asyncio.timeout(10):
            watching = asyncio.create_task(health.watch(look, 0))
            await enough.wait()
            watching.cancel()

    asyncio.run(scenario())
    assert health.says == "state out of reach"


@pytest.mark.parametrize("request_line", ["POST /readyz", "GET /readyz/", "GET /openai/healthz"])
def test_other_paths_are_calls(request_line: str) -> None:
    """Only these two pages are the gateway's own; anything else is a call, which the function decides."""
    assert asked(Health(), ask(request_line))[0][0] == "502"


def test_the_edge_of_one_machine_has_no_such_pages() -> None:
    """Without a health, both paths are calls as at CloudFront."""
    assert asked(None, ask("GET /healthz"))[0][0] == "502"


def test_a_broker_answers_alike() -> None:
    """A broker with a state of health answers `/readyz` as the edge does, without its app; without one there is no such path."""
    health = Health()

    async def asked_of(known: Health | None) -> list[tuple[int, str]]:
        def nobody(*_: object) -> Caller:
            raise AssertionError("nobody signs")

        runner = web.ServerRunner(make_gateway(None, None, nobody, health=known))
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/readyz"
            said = []
            async with ClientSession() as client:
                for method, target in (("GET", url), ("HEAD", f"{url}?x=1"), ("POST", url)):
                    async with client.request(method, target) as answer:
                        said.append((answer.status, (await answer.text()).strip()))
            return said
        finally:
            await runner.cleanup()

    async def scenario() -> None:
        found = await asked_of(health)
        assert found[:2] == [(503, "starting"), (503, "")]
        assert found[2][0] == 404
        await health.see(fine)
        assert (await asked_of(health))[:2] == [(200, "ready"), (200, "")]
        health.drain()
        assert (await asked_of(health))[0] == (503, "draining")
        assert (await asked_of(None))[0][0] == 404

    asyncio.run(scenario())
