"""The auth classes of httpx and httpx2, with the real clients: which token goes where, and what a 401 gets."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import httpx2
import openai
import pytest

from keybroker import NotConfigured, Refused, TokenProvider
from tests.scripted_broker import Broker, good, in_turn, jwt, refused, scripted

Module = Any
"""httpx or httpx2."""
MODULES = pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])


@dataclass
class Edge:
    """What a call arrives at. refuses: the tokens that it answers with 401."""

    url: str
    refuses: Callable[[str], bool] = lambda _token: False
    seen: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def tokens(self) -> list[str]:
        return [one.get("authorization", "") for one in self.seen]


@pytest.fixture
def edge() -> Iterator[Edge]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            one.seen.append(headers)
            one.bodies.append(self._body(headers))
            refuses = one.refuses(headers.get("authorization", "").removeprefix("Bearer "))
            body = json.dumps({"error": {"message": "no"}} if refuses else {"data": [], "object": "list"}).encode()
            self.send_response(401 if refuses else 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.do_POST()

        def _body(self, headers: dict[str, str]) -> bytes:
            if headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(headers.get("content-length", 0)))
            whole = b""
            while size := int(self.rfile.readline(), 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return whole

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        one = Edge(f"http://127.0.0.1:{server.server_port}")
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield one
        server.shutdown()
        thread.join(10)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    monkeypatch.setenv("KEYBROKER_ID_TOKEN", jwt())
    with scripted() as one:
        yield one


@pytest.fixture
def provider(broker: Broker, edge: Edge) -> TokenProvider:
    return TokenProvider("openai", broker.url, base_url=f"{edge.url}/openai/v1")


def auth_of(provider: TokenProvider, module: Module) -> Any:  # noqa: ANN401  a class of one of them
    return provider.httpx_auth() if module is httpx else provider.httpx2_auth()


@MODULES
def test_a_call_carries_only_the_token(module: Module, provider: TokenProvider, edge: Edge) -> None:
    """A call carries a valid token and no other key."""
    stale = dict.fromkeys(("authorization", "x-api-key", "X-Goog-Api-Key", "api-key"), "sk-stale")
    with module.Client(auth=auth_of(provider, module), headers=stale) as client:
        assert client.get(f"{edge.url}/openai/v1/models").status_code == 200
    (seen,) = edge.seen
    assert seen["authorization"] == f"Bearer {provider()}"
    assert "sk-stale" not in str(seen)


@MODULES
def test_a_401_is_repeated_with_a_fresh_token(
    module: Module,
    provider: TokenProvider,
    edge: Edge,
) -> None:
    """After a 401 the request is repeated once, with a fresh token and the same body."""
    first = provider()
    edge.refuses = lambda token: token == first
    with module.Client(auth=auth_of(provider, module)) as client:
        answer = client.post(f"{edge.url}/openai/v1/chat", json={"a": 1})
    assert answer.status_code == 200
    assert edge.tokens() == [f"Bearer {first}", f"Bearer {provider()}"]
    assert edge.bodies[0] == edge.bodies[1] != b""


@MODULES
def test_a_second_401_is_the_answer(module: Module, provider: TokenProvider, edge: Edge) -> None:
    """A 401 for the fresh token, too, is returned."""
    edge.refuses = lambda _token: True
    with module.Client(auth=auth_of(provider, module)) as client:
        assert client.get(f"{edge.url}/openai/v1/models").status_code == 401
        assert len(edge.seen) == 2
        assert client.get(f"{edge.url}/openai/v1/models").status_code == 401
    assert len(edge.seen) == 3  # a token was fetched just now, so another one would not help


@MODULES
def test_an_async_client_does_the_same(module: Module, provider: TokenProvider, edge: Edge) -> None:
    """An async client does the same."""
    first = provider()
    edge.refuses = lambda token: token == first

    async def run() -> int:
        async with module.AsyncClient(auth=auth_of(provider, module)) as client:
            return int((await client.post(f"{edge.url}/openai/v1/chat", json={})).status_code)

    assert asyncio.run(run()) == 200
    assert edge.tokens() == [f"Bearer {first}", f"Bearer {provider()}"]


@MODULES
def test_a_stream_is_not_sent_twice(module: Module, provider: TokenProvider, edge: Edge) -> None:
    """A body that is a stream is not sent twice."""
    edge.refuses = lambda _token: True
    with module.Client(auth=auth_of(provider, module)) as client:
        answer = client.post(f"{edge.url}/openai/v1/files", content=iter([b"part one, ", b"part two"]))
    assert answer.status_code == 401
    assert edge.bodies == [b"part one, part two"]


@MODULES
@pytest.mark.parametrize("other", ["http://127.0.0.1:1", "https://127.0.0.1:{port}", "http://localhost:{port}"])
def test_a_token_is_not_sent_to_another_host(
    module: Module,
    provider: TokenProvider,
    edge: Edge,
    other: str,
) -> None:
    """A token is sent to the edge and to no other host."""
    url = other.format(port=edge.url.rpartition(":")[2])
    with module.Client(auth=auth_of(provider, module)) as client, pytest.raises(NotConfigured, match="base_url"):
        client.get(f"{url}/openai/v1/models")
    assert edge.seen == []


@MODULES
def test_a_401_stands_without_another_token(
    module: Module,
    provider: TokenProvider,
    edge: Edge,
    broker: Broker,
) -> None:
    """The edge's 401 is returned if there is no other token."""
    edge.refuses = lambda _token: True
    broker.script = in_turn(good, refused(400, "invalid_grant", "access is revoked (principal)"))
    with module.Client(auth=auth_of(provider, module)) as client:
        assert client.get(f"{edge.url}/openai/v1/models").status_code == 401
    assert len(edge.seen) == 1


@MODULES
def test_without_a_token_the_refusal_is_raised(
    module: Module,
    provider: TokenProvider,
    edge: Edge,
    broker: Broker,
) -> None:
    """Without any token the call raises the refusal."""
    broker.script = refused(400, "invalid_target", "no grant admits you")
    with module.Client(auth=auth_of(provider, module)) as client, pytest.raises(Refused, match="no grant admits you"):
        client.get(f"{edge.url}/openai/v1/models")
    assert edge.seen == []


def test_openai_refreshes_through_httpx(provider: TokenProvider, edge: Edge) -> None:
    """OpenAI's client can use it in its HTTP client, and then refreshes after a 401."""
    first = provider()
    edge.refuses = lambda token: token == first
    http = openai.DefaultHttpxClient(auth=provider.httpx2_auth())
    with openai.OpenAI(api_key="unused", base_url=provider.base_url, http_client=http) as client:
        assert client.models.list().data == []
    assert edge.tokens() == [f"Bearer {first}", f"Bearer {provider()}"]
