"""WebSockets through the edge, with a real server and a real client: one call, byte for byte, cut when they must end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import WSMsgType

from local.simulator import web_sockets
from tests.parts import SUB, Parts, claims_of, grant, parts_in
from tests.web_socket_door import KEY, PATH, Here, during, echo


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        made.apply(
            grant(scope=f'["WEBSOCKET:{PATH}", "GET:/v1/models"]', quota="{tokens: 100/hour, calls: [3/minute]}")
        )
        yield made


def test_a_web_socket_is_one_call(parts: Parts) -> None:
    """The call is admitted and counted once, with the key in place of the token, and messages of any kind pass both ways."""
    token = parts.token()

    async def act(here: Here) -> None:
        async with here.connect(token, f"{PATH}?model=gpt-realtime", ["realtime"]) as socket:
            assert socket.protocol == "realtime"
            for _ in range(50):
                await echo(socket)
            large = bytes(range(256)) * 8_192
            await socket.send_bytes(large)
            assert (await socket.receive()).data == large
        (seen,) = here.provider.seen
        assert (seen["authorization"], seen["sec-websocket-protocol"]) == (f"Bearer {KEY}", "realtime")
        assert token not in str(seen)
        await here.until(lambda: not here.provider.open)

    during(parts, act)
    assert parts.counted()["minute"] == (1, 0)


def test_a_revoked_web_socket_ends(parts: Parts) -> None:
    """It ends once what it stands on is revoked, at the provider too; another's runs on."""
    token, other = parts.token(), parts.token(repository_id="77")

    async def act(here: Here) -> None:
        async with here.connect(token) as ends, here.connect(other) as runs_on:
            await echo(ends)
            parts.revoke("principal", SUB)
            assert (await ends.receive()).type in (WSMsgType.CLOSED, WSMsgType.ERROR)
            assert ends.close_code in (1006, None)
            await here.until(lambda: here.provider.open == 1)
            await echo(runs_on)

    during(parts, act)


def test_a_web_socket_ends_with_its_token(parts: Parts) -> None:
    """Its holder goes on asking, and so needs a token that is good; a stream of one call does not."""
    token = parts.token()

    async def act(here: Here) -> None:
        async with here.connect(token) as socket:
            here.now[0] = claims_of(token)["exp"] - 1
            await asyncio.sleep(0.1)
            await echo(socket)
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
