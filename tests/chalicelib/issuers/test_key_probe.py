"""Asking a provider whether a key works, over real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from aiohttp import web

from chalicelib.issuers.key_probe import HttpKeyProbe
from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.probing import Probed, judge
from tests.practice_server import serving

VALUE = "sk-canary-0123456789abcdef"


def key(origin: str, header: str = "authorization", prefix: str = "Bearer ") -> ProviderKey:
    return ProviderKey("v1", origin, header, prefix, VALUE)


@pytest.mark.parametrize(
    ("status", "probed"),
    [
        (200, Probed.WORKS),
        (204, Probed.WORKS),
        (400, Probed.REFUSED),
        (401, Probed.REFUSED),
        (403, Probed.RESTRICTED),
        *((status, Probed.UNKNOWN) for status in (301, 302, 404, 408, 429, 500, 502, 503, 529)),
    ],
)
def test_what_a_status_says(status: int, probed: Probed) -> None:
    """Only a success is a yes and only what is about the key is a no; everything else is not known."""
    assert judge(status) is probed


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """A provider that accepts one key, and answers by the header `x-status` of no request, but by path."""

    async def models(request: web.Request) -> web.Response:
        right = request.headers.get("authorization") == f"Bearer {VALUE}" or request.headers.get("x-api-key") == VALUE
        return web.json_response({"data": []}, status=200 if right else 401)

    async def moved(_request: web.Request) -> web.Response:
        raise web.HTTPFound("http://localhost:1/elsewhere")

    made = web.Application()
    made.router.add_get("/v1/models", models)
    made.router.add_get("/rate_limit", moved)
    with serving(made) as url:
        yield url


def test_a_probe_goes_to_its_origin(provider: str) -> None:
    """A key is asked about at its own origin, in its own header, and a redirect is not followed."""
    probe = HttpKeyProbe()
    assert probe.probe(key(provider), "openai") == (Probed.WORKS, "status_200")
    assert probe.probe(key(provider, "x-api-key", ""), "anthropic") == (Probed.WORKS, "status_200")
    assert probe.probe(key(provider, prefix="Basic "), "openai") == (Probed.REFUSED, "status_401")
    assert probe.probe(key(provider), "github") == (Probed.UNKNOWN, "status_302")


def test_a_provider_without_a_probe() -> None:
    """Of a generic key nothing can be asked."""
    assert HttpKeyProbe().probe(key("https://api.example.com"), "generic") == (Probed.NONE, "")


def test_who_does_not_answer_is_unknown() -> None:
    """A provider that cannot be reached, or that takes too long, has said nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        origin = f"http://localhost:{silent.getsockname()[1]}"
        assert HttpKeyProbe(0.2).probe(key(origin), "openai") == (Probed.UNKNOWN, "too_slow")
    assert HttpKeyProbe(2).probe(key(origin), "openai") == (Probed.UNKNOWN, "unreachable")
