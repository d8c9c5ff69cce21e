"""Which key goes with which call, where connections are kept and shared by callers with different keys."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import edge
from chalicelib.edge.admission import Edge
from local.sqlite.edge_state import SqliteEdgeState
from tests.edge_door import OK, answers, before_raw, door, head, ok, talk, viewer
from tests.parts import BROKER, NOW, Parts, parts_in
from tests.raw_provider import RawProvider, raw_provider

POLICY = """\
keys:
  openai:    {provider: openai}
  anthropic: {provider: anthropic}
issuers:
  ci: {preset: ci, audience: keybroker}
grants:
  one:
    key: openai
    to: {issuer: ci, claims: {repository_owner_id: "9919"}}
    scope: ["POST:/v1/chat/completions", "GET:/v1/models"]
    quota: {tokens: 1000/hour, calls: [1000000/minute]}
  two:
    key: anthropic
    to: {issuer: ci, claims: {repository_owner_id: "9919"}}
    scope: ["POST:/v1/messages", "GET:/v1/models"]
    quota: {tokens: 1000/hour, calls: [1000000/minute]}
"""


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        made.apply(POLICY)
        yield made


def test_shared_connections_keep_keys_apart(parts: Parts) -> None:
    """Each call has its own key over shared connections."""

    # SECURITY: a connection to a provider is kept, and the next call on it may be another caller's with another key.
    async def run() -> RawProvider:
        async with asyncio.timeout(60), raw_provider(ok) as provider:
            keys = {"openai": "sk-one", "anthropic": "sk-ant-two"}
            for name, value in keys.items():
                parts.set_key(name, value, origin=provider.origin)
            tokens = {name: parts.exchange(audience=name).access_token for name in keys}
            async with door(_function(parts)) as port:
                await asyncio.gather(*(_calls(port, tokens, number) for number in range(8)))
            return provider

    provider = asyncio.run(run())
    assert len(provider.seen) == 8 * 40
    for one in provider.seen:
        is_ours = one.header("x-key") == "openai"
        expected = ("Bearer sk-one", "") if is_ours else ("", "sk-ant-two")
        assert (one.header("authorization"), one.header("x-api-key")) == expected
        assert one.target == ("/v1/chat/completions" if is_ours else "/v1/messages")
    by_connection: dict[int, list[str]] = {}
    for one in provider.seen:
        by_connection.setdefault(one.connection, []).append(one.header("x-key"))
    assert provider.made <= 16, "connections were not kept"
    switches = sum(before != after for keys in by_connection.values() for before, after in pairwise(keys))
    assert switches > 50, "no connection was used with one key after the other"


async def _calls(port: int, tokens: dict[str, str], number: int) -> None:
    """Forty calls on one connection, with one token or the other: not in turn, or all would go in step with each other."""
    chance = random.Random(number)
    paths = {"openai": "/openai/v1/chat/completions", "anthropic": "/anthropic/v1/messages"}
    async with viewer(port) as (reader, writer):
        for _ in range(40):
            key = chance.choice(("openai", "anthropic"))
            lines = (f"x-api-key: {tokens[key]}", f"X-Key: {key}", "Content-Length: 2")
            writer.write(head(f"POST {paths[key]} HTTP/1.1", "Host: edge", *lines) + b"{}")
            assert await answers(reader, 1) == [b"ok"]


def _function(parts: Parts) -> Callable[[dict[str, object], object], dict[str, object]]:
    own = Edge(SqliteEdgeState(parts.state), parts.signer, parts.provider_keys, BROKER)
    return edge.make_handler(lambda: edge.Ports(own, lambda: NOW))


def test_leftover_response_is_not_reused() -> None:
    """A call never gets what an earlier call left on the connection."""

    async def two_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + head("HTTP/1.1 200 OK", "Content-Length: 6") + b"stolen")
        await reader.read(-1)

    async def run() -> list[bytes]:
        async with before_raw(two_answers) as port:
            ask = head("GET / HTTP/1.1", "Host: edge", "Connection: close")
            return [(await talk(port, ask))[1] for _ in range(2)]

    assert asyncio.run(run()) == [b"ok", b"ok"]
