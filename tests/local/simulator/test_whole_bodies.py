"""Bodies over 1 MiB under a grant that limits models: received whole, decided, and only then sent on, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import os
import select
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import edge
from chalicelib.edge import preview
from chalicelib.models.body import CallBody
from local.simulator import whole_bodies
from local.simulator.include_body import INCLUDED_BYTES, NotInvokedError
from local.simulator.whole_bodies import BATCH, KeptBody, WholeBodies
from local.sqlite.running_state import SqliteRunningState
from tests.contracts.samples import jti_of
from tests.edge_door import code, door, head, ok, talk, viewer
from tests.parts import NOW, Parts, grant, parts_in
from tests.raw_provider import RawProvider, raw_provider

LONG = "k" * 3 * INCLUDED_BYTES


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        made.apply(grant(models="[gpt-5-mini]"))
        yield made


@asynccontextmanager
async def opened(parts: Parts) -> AsyncIterator[tuple[RawProvider, int]]:
    """An edge as one machine has it with real providers, before a provider."""
    async with asyncio.timeout(30), raw_provider(ok) as provider:
        parts.set_key("openai", "sk-real", origin=provider.origin)
        ports, state = parts.edge_ports([]), SqliteRunningState(parts.state)
        needs = functools.partial(preview.needs_whole_body, edge=ports.edge, state=state, now=NOW)
        async with door(edge.make_handler(lambda: ports), needs_whole_body=needs) as port:
            yield provider, port


def during(parts: Parts, act: Callable[[RawProvider, int], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened(parts) as (provider, port):
            await act(provider, port)

    asyncio.run(run())


def call(token: str, body: bytes, *lines: str, path: str = "/v1/chat/completions") -> bytes:
    framing = "Transfer-Encoding: chunked" if "chunked" in lines else f"Content-Length: {len(body)}"
    sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if "chunked" in lines else body
    named = [
        "Host: edge",
        "Connection: close",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        framing,
    ]
    return head(f"POST /openai{path} HTTP/1.1", *named) + sent


def chat(**members: Any) -> bytes:  # noqa: ANN401  any JSON
    return json.dumps({"input": LONG, **members}).encode()


@pytest.mark.parametrize("framing", ["", "chunked"])
def test_a_long_body_goes_on_byte_for_byte(parts: Parts, framing: str) -> None:
    """A model that comes behind three MiB is read, and the body arrives as it was sent; it is counted once."""
    token, body = parts.token(), chat(model="gpt-5-mini")

    async def act(provider: RawProvider, port: int) -> None:
        lines, answer = await talk(port, call(token, body, framing))
        assert (lines[0], answer) == ("HTTP/1.1 200 OK", b"ok")
        (seen,) = provider.seen
        assert (seen.size, seen.digest) == (len(body), hashlib.sha256(body).hexdigest())

    during(parts, act)
    assert parts.counted()["minute"] == (1, 0)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (chat(model="gpt-5"), ("403", "model_not_allowed")),
        (chat(), ("400", "invalid_request")),
        (chat(model="gpt-5-mini")[:-1] + b', "model": "gpt-5"}', ("400", "invalid_request")),
        (chat(model="gpt-5-mini") + b"\xff", ("400", "invalid_request")),
        (b'{"model": "gpt-5-mini", "a": [' + b'"b",' * INCLUDED_BYTES + b"1]}", ("413", "invalid_request")),
    ],
    ids=["another", "none", "twice", "malformed", "too-many"],
)
def test_nothing_goes_on_before_it_is_decided(parts: Parts, body: bytes, expected: tuple[str, str]) -> None:
    """What is refused at the end of its body has not reached the provider in part, and is counted as refused."""
    token = parts.token()

    async def act(provider: RawProvider, port: int) -> None:
        assert code(await talk(port, call(token, body))) == expected
        assert provider.made == 0

    during(parts, act)
    assert parts.counted()["minute"] == (0, 1)


def test_a_revocation_meanwhile_holds(parts: Parts) -> None:
    """A call is decided when its body has arrived, by the state as it is then."""
    token, body = parts.token(), chat(model="gpt-5-mini")

    async def act(provider: RawProvider, port: int) -> None:
        async with viewer(port) as (reader, writer):
            sent = call(token, body)
            writer.write(sent[:-1])
            await writer.drain()
            parts.revoke("grant", "app")
            writer.write(sent[-1:])
            lines, _, answer = (await reader.read(-1)).decode().partition("\r\n\r\n")
            assert code((lines.split("\r\n"), answer.encode())) == ("403", "revoked")
        assert provider.made == 0

    during(parts, act)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was kept in files, by caller."""
    found: list[str] = []
    real = WholeBodies.receive

    async def receive(self: WholeBodies, request: Any, caller: str, shown: CallBody) -> CallBody | None:  # noqa: ANN401
        found.append(caller)
        return await real(self, request, caller, shown)

    monkeypatch.setattr(WholeBodies, "receive", receive)
    return found


def test_a_stranger_s_body_is_not_kept(parts: Parts, kept: list[str]) -> None:
    """Without a token that would do, the first MiB of a body is all that is looked at."""
    revoked, short = parts.token(), parts.token()
    parts.revoke("token", jti_of(revoked))

    async def act(_provider: RawProvider, port: int) -> None:
        for token, path in (
            ("no-token", "/v1/chat/completions"),
            (revoked, "/v1/chat/completions"),
            (short, "/v1/files"),
        ):
            lines, _ = await talk(port, call(token, chat(model="gpt-5-mini"), path=path))
            assert lines[0].split(" ")[1] in ("401", "403")

    during(parts, act)
    assert kept == []


def test_a_grant_without_models_streams_as_ever(parts: Parts, kept: list[str]) -> None:
    """An upload under a grant that limits no models goes on while it arrives."""
    parts.apply(grant())
    token, body = parts.token(), chat(model="gpt-5")

    async def act(provider: RawProvider, port: int) -> None:
        async with viewer(port) as (reader, writer):
            writer.write(call(token, body)[:-1])
            await provider.until(lambda: provider.made == 1)
            writer.write(body[-1:])
            assert (await reader.read(-1)).endswith(b"ok")

    during(parts, act)
    assert kept == []


def test_one_caller_does_not_take_all_room() -> None:
    """There is room for one long body of anybody, and for a share of it in several; what is given back can be taken again."""
    bodies = WholeBodies(most=1000, share=250)
    bodies.take("ada", 0, 900)
    for refused in (lambda: bodies.take("ada", 0, 1), lambda: bodies.take("bob", 0, 101)):
        assert _refused(refused) == "no_room"
    assert _refused(lambda: bodies.take("ada", 900, 101)) == "too_long"
    bodies.take("bob", 0, 100)
    bodies.give_back("ada", 900)
    bodies.take("bob", 0, 150)
    assert _refused(lambda: bodies.take("bob", 0, 1)) == "no_room"
    bodies.give_back("bob", 250)
    bodies.take("cy", 0, 1000)


@pytest.mark.parametrize("most", [INCLUDED_BYTES, 8 * INCLUDED_BYTES])
def test_room_is_given_back(parts: Parts, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Room is free again once a call is done, or was refused for want of it."""
    monkeypatch.setattr(whole_bodies.WholeBodies.__init__, "__defaults__", (most, most))
    token, body = parts.token(), chat(model="gpt-5-mini")

    async def act(_provider: RawProvider, port: int) -> None:
        statuses = [(await talk(port, call(token, body)))[0][0].split(" ")[1] for _ in range(4)]
        assert statuses == ["413" if most == INCLUDED_BYTES else "200"] * 4

    during(parts, act)


def test_a_full_disk_is_a_503(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no file can be made, the caller is told to try again, and nothing is counted."""
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null/there-is-no-such-directory")

    async def act(_provider: RawProvider, port: int) -> None:
        assert code(await talk(port, call(parts.token(), chat(model="gpt-5-mini")))) == ("503", "edge_busy")

    during(parts, act)
    assert "minute" not in parts.counted()


def _refused(attempt: Callable[[], None]) -> str:
    with pytest.raises(NotInvokedError) as raised:
        attempt()
    return raised.value.name


def test_a_file_in_use_is_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that leaves while its body is written closes no descriptor under the thread that writes: it may be another's next."""
    reader, writer = os.pipe()
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: os.fdopen(writer, "wb", buffering=0))

    async def run() -> None:
        body = KeptBody(WholeBodies(), "a")
        writing = asyncio.create_task(body.write(b"x" * BATCH))  # more than a pipe takes
        while not select.select([reader], [], [], 0)[0]:  # noqa: ASYNC110  a thread brings it about
            await asyncio.sleep(0.01)
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
        body.close()
        is_open, left = _is_open(writer), 0
        while part := await asyncio.to_thread(os.read, reader, BATCH):  # to its end: the thread has closed the other
            left += len(part)
        assert (is_open, left) == (True, BATCH)

    try:
        asyncio.run(asyncio.wait_for(run(), 10))
    finally:
        os.close(reader)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
