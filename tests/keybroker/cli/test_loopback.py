"""The loopback address: what goes through it, byte for byte and as it comes, and who may use it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from keybroker.cli import loopback, loopback_handler, upstream
from keybroker.cli.loopback import Loopback
from keybroker.cli.upstream import Upstream
from keybroker.token_provider import TokenProvider
from tests.keybroker.cli.canned_server import SECONDS, CannedServer, serving
from tests.running import Running


@pytest.fixture
def edge() -> Iterator[CannedServer]:
    with serving(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-request-id: r1\r\n\r\nok") as one:
        yield one


@pytest.fixture
def provider(github_job: Running, edge: CannedServer) -> TokenProvider:
    """A provider of real tokens, for an edge that is this test's own."""
    return TokenProvider("openai", github_job.broker, base_url=f"{edge.url}/prefix/openai/v1")


@pytest.fixture
def here(provider: TokenProvider) -> Iterator[Loopback]:
    with loopback.serve({"openai": Upstream("openai", provider)}) as one:
        yield one


@contextlib.contextmanager
def connected(here: Loopback) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", here.port, timeout=SECONDS)
    yield connection
    connection.close()


def ask(here: Loopback, target: str = "/openai/v1/models", **headers: str) -> tuple[int, bytes]:
    with connected(here) as connection:
        connection.request("GET", target, headers={name.replace("_", "-"): one for name, one in headers.items()})
        with connection.getresponse() as response:
            return response.status, response.read()


def test_base_url_is_on_loopback(here: Loopback) -> None:
    """The base URL is the edge's with the loopback address."""
    assert here.base_url("openai") == f"http://127.0.0.1:{here.port}/openai/v1"


def test_a_call_is_forwarded_but_for_its_key(here: Loopback, edge: CannedServer, provider: TokenProvider) -> None:
    """A call is forwarded byte for byte, except for its key."""
    with connected(here) as connection:
        connection.putrequest("POST", "/openai/v1/chat?a=1&a=%2F", skip_accept_encoding=True)
        for name, value in (
            ("Authorization", f"Bearer {here.key}"),
            ("X-Odd", "one"),
            ("X-Odd", "two"),
            ("Content-Length", "3"),
            ("Connection", "keep-alive"),
        ):
            connection.putheader(name, value)
        connection.endheaders(b"a\0b")
        with connection.getresponse() as response:
            assert (response.status, response.read()) == (200, b"ok")
            assert response.headers["x-request-id"] == "r1"
    head, _, body = edge.seen[0].partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    assert line == "POST /prefix/openai/v1/chat?a=1&a=%2F HTTP/1.1"
    assert [one for one in headers if one.lower().startswith("x-odd")] == ["X-Odd: one", "X-Odd: two"]
    assert f"authorization: Bearer {provider()}" in headers
    assert f"Host: {edge.url.removeprefix('http://')}" in headers
    assert here.key not in head.decode()
    assert not [one for one in headers if one.lower().startswith("connection")]
    assert body == b"a\0b"


def test_a_stream_is_passed_as_it_comes(here: Loopback, edge: CannedServer) -> None:
    """A streamed response is passed on piece by piece."""
    edge.pieces[:] = [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        b"6\r\nsecond\r\n0\r\n\r\n",
    ]
    with connected(here) as connection:
        connection.request("GET", "/openai/v1/x", headers={"x-api-key": here.key})
        with connection.getresponse() as response:
            assert response.read1() == b"first"  # the edge sends no more until this has arrived
            edge.go_on.set()
            assert response.read() == b"second"


def test_the_edges_addresses_become_the_proxys(here: Loopback, edge: CannedServer) -> None:
    """A next page and a redirect at the edge are at the proxy for its caller, and other addresses are unchanged."""
    root = f"{edge.url}/prefix/openai"
    link = f'<{root}/a?page=2>; rel="next", <{root}2/a>, <{root}>'
    head = f"HTTP/1.1 200 OK\r\nLink: {link}\r\nLocation: {root}/b\r\nX-Next: {root}/c\r\ncontent-length: 0\r\n\r\n"
    edge.pieces[:] = [head.encode()]
    own = f"http://127.0.0.1:{here.port}/openai"
    with connected(here) as connection:
        connection.request("GET", "/openai/v1/models", headers={"authorization": f"Bearer {here.key}"})
        headers = connection.getresponse().headers
    assert headers["Link"] == f'<{own}/a?page=2>; rel="next", <{root}2/a>, <{own}>'
    assert (headers["Location"], headers["X-Next"]) == (f"{own}/b", f"{root}/c")


@pytest.mark.parametrize("host", ["", "Host: \r\n", "Host: a>b\r\n", "Host: a\r\n b\r\n", "Host: u@evil.example/x\r\n"])
def test_an_address_needs_no_host(host: str, here: Loopback, edge: CannedServer) -> None:
    """Where the caller names no plain host, addresses are at the proxy's own."""
    root = f"{edge.url}/prefix/openai"
    edge.pieces[:] = [f"HTTP/1.1 200 OK\r\nLocation: {root}/b\r\ncontent-length: 0\r\n\r\n".encode()]
    with socket.create_connection(("127.0.0.1", here.port), timeout=SECONDS) as raw, raw.makefile("rb") as said:
        raw.sendall(f"GET /openai/v1/x HTTP/1.0\r\n{host}Authorization: Bearer {here.key}\r\n\r\n".encode())
        lines = said.read().decode().split("\r\n")
    assert f"Location: http://127.0.0.1:{here.port}/openai/b" in lines


def test_a_truncated_response_stays_truncated(here: Loopback, edge: CannedServer) -> None:
    """A response that stops early is seen by the client to stop early."""
    edge.pieces[:] = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n"]
    with connected(here) as connection:
        connection.request("GET", "/openai/v1/x", headers={"x-api-key": here.key})
        with connection.getresponse() as response, pytest.raises(http.client.IncompleteRead):
            response.read()


def test_a_chunked_body_stays_chunked(here: Loopback, edge: CannedServer) -> None:
    """A chunked request body is forwarded in chunks."""
    with connected(here) as connection:
        headers = {"x-goog-api-key": here.key, "transfer-encoding": "chunked"}
        connection.request("POST", "/openai/v1/x", iter([b"one", b"two"]), headers, encode_chunked=True)
        connection.getresponse().read()
    assert edge.seen[0].endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


@pytest.mark.parametrize("name", ["authorization", "x_api_key", "x_goog_api_key", "api_key"])
def test_the_key_is_read_where_sdks_put_it(here: Loopback, name: str) -> None:
    """The key is accepted in every header that SDKs use."""
    assert ask(here, **{name: f"Bearer {here.key}" if name == "authorization" else here.key})[0] == 200


@pytest.mark.parametrize("name", ["key", "k%65y", "%6B%65%79"])
@pytest.mark.parametrize("spell", [str, lambda key: key.replace("-", "%2D"), lambda key: key.replace("k", "%6b")])
def test_the_key_is_removed_from_the_query(
    here: Loopback, edge: CannedServer, name: str, spell: Callable[[str], str]
) -> None:
    """The key in the query is accepted and removed, however its name and value are encoded."""
    assert ask(here, f"/openai/v1/models?a=%6b&{name}={spell(here.key)}&c")[0] == 200
    assert edge.seen[0].startswith(b"GET /prefix/openai/v1/models?a=%6b&c HTTP/1.1\r\n")


@pytest.mark.parametrize("scheme", ["Bearer%20", "+", "x+y+", "%20"])
def test_a_scheme_before_the_key_hides_it_not(here: Loopback, edge: CannedServer, scheme: str) -> None:
    """What is accepted as the key in the query, with a scheme before it, is removed too."""
    assert ask(here, f"/openai/v1/models?key={scheme}{here.key}&c")[0] == 200
    assert edge.seen[0].startswith(b"GET /prefix/openai/v1/models?c HTTP/1.1\r\n")


def test_another_key_in_the_query_stays(here: Loopback, edge: CannedServer) -> None:
    """What is not our key is forwarded as it was sent, and a fragment does not hide the key."""
    assert ask(here, "/openai/v1/models?key=other&%6bey", x_api_key=here.key)[0] == 200
    assert edge.seen[0].startswith(b"GET /prefix/openai/v1/models?key=other&%6bey HTTP/1.1\r\n")
    assert ask(here, f"/openai/v1/models?key={here.key}#fragment")[0] == 401


def test_another_spelling_of_a_key_header_is_removed(here: Loopback, edge: CannedServer) -> None:
    """A header that some servers read as the key's is removed like it."""
    with connected(here) as connection:
        connection.request("GET", "/openai/v1/x", headers={"X-Api-Key": here.key, "X_Api_Key": "other"})
        assert connection.getresponse().status == 200
    assert b"x_api_key" not in edge.seen[0].lower()


def dripping(port: int) -> float:
    """Send a head one byte at a time, and return the seconds until the connection was closed."""
    began = time.monotonic()
    with socket.create_connection((loopback.HOST, port), SECONDS) as one, contextlib.suppress(OSError):
        one.settimeout(0.02)
        for byte in b"GET / HTTP/1.1\r\nx: " + b"y" * 10_000:
            one.send(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                if not one.recv(1):
                    break
    return time.monotonic() - began


def test_a_slow_head_is_given_up(here: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that is not complete in time closes its connection, although bytes keep coming."""
    monkeypatch.setattr(loopback_handler, "HEAD", 0.2)
    assert dripping(here.port) < 20
    assert ask(here, x_api_key=here.key)[0] == 200


def test_a_slow_body_has_more_time(here: Loopback, edge: CannedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline of the head does not hold for the body of a caller with the key."""
    monkeypatch.setattr(loopback_handler, "HEAD", 0.2)
    with connected(here) as connection:
        connection.putrequest("POST", "/openai/v1/x")
        for name, value in (("x-api-key", here.key), ("content-length", "2")):
            connection.putheader(name, value)
        connection.endheaders(b"a")
        time.sleep(0.4)  # longer than the head's deadline, which is what is tested
        connection.send(b"b")
        assert connection.getresponse().status == 200
    assert edge.seen[0].endswith(b"ab")


@contextlib.contextmanager
def idle_connections(here: Loopback, number: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        address = (loopback.HOST, here.port)
        yield [stack.enter_context(socket.create_connection(address, SECONDS)) for _ in range(number)]


def test_strangers_do_not_keep_callers_out(here: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the cap, the oldest connection that has not shown the key is closed for the new one."""
    monkeypatch.setattr(loopback, "CONNECTIONS", 3)
    with idle_connections(here, 3) as strangers:
        assert ask(here, x_api_key=here.key)[0] == 200
        strangers[0].settimeout(SECONDS)
        assert strangers[0].recv(1) == b""


def test_connections_have_a_cap(here: Loopback, edge: CannedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all connections have shown the key, a further one is refused at once, and is let in later."""
    monkeypatch.setattr(loopback, "CONNECTIONS", 1)
    edge.stays = True
    with connected(here) as connection:
        connection.request("GET", "/openai/v1/models", headers={"x-api-key": here.key})
        assert connection.getresponse().read() == b"ok"
        assert ask(here, x_api_key=here.key) == (503, b"")
    ends = time.monotonic() + SECONDS
    while ask(here, x_api_key=here.key)[0] != 200:
        assert time.monotonic() < ends


@pytest.mark.parametrize("name", ["X_Api_Key", "x.goog.api.key", "API_KEY", "Transfer_Encoding", "content_length"])
def test_key_in_every_spelling(here: Loopback, edge: CannedServer, name: str) -> None:
    """What is taken off a call under one spelling is taken off under all."""
    with connected(here) as connection:
        connection.request("GET", "/openai/v1/models", headers={"Authorization": f"Bearer {here.key}", name: here.key})
        assert connection.getresponse().read() == b"ok"
    assert here.key.encode() not in edge.seen[-1]
    assert name.lower().encode() not in edge.seen[-1].lower()


@pytest.mark.parametrize("key", ["", "wrong", "Bearer wrong", "Bearer", "kb-local-é"])
def test_a_call_without_the_key_is_refused(here: Loopback, edge: CannedServer, key: str) -> None:
    """A call without the key is refused, and nothing is forwarded."""
    status, body = ask(here, authorization=key.encode().decode("latin-1"))
    assert (status, json.loads(body)["error"]["code"]) == (401, "invalid_token")
    assert edge.seen == []


def test_other_paths_are_not_found(here: Loopback, edge: CannedServer) -> None:
    """Paths of other keys are not found."""
    for target in ("/", "/anthropic/v1", "/openaix/v1", "http://127.0.0.1/openai/v1"):
        assert ask(here, target, x_api_key=here.key)[0] == 404
    assert edge.seen == []


def test_a_body_with_two_lengths_is_refused(here: Loopback, edge: CannedServer) -> None:
    """A body with two lengths is refused, and nothing is forwarded."""
    with connected(here) as connection:
        connection.putrequest("POST", "/openai/v1/x")
        for name, value in (("x-api-key", here.key), ("content-length", "3"), ("transfer-encoding", "chunked")):
            connection.putheader(name, value)
        connection.endheaders(b"3\r\nabc\r\n0\r\n\r\n")
        assert connection.getresponse().status == 400
    assert edge.seen == []


def test_a_401_is_retried_with_a_fresh_token(here: Loopback, edge: CannedServer) -> None:
    """After a 401 a call is sent once more with another token."""
    edge.pieces[:] = [b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"]
    assert ask(here, x_api_key=here.key)[0] == 401
    sent = [line for seen in edge.seen for line in seen.split(b"\r\n") if line.startswith(b"authorization")]
    assert (len(sent), len(set(sent))) == (2, 2)


def ask_often(here: Loopback, times: int) -> list[int]:
    """Ask over one connection, so that each call is over before the next one."""
    statuses = []
    with connected(here) as connection:
        for _ in range(times):
            connection.request("GET", "/openai/v1/models", headers={"x-api-key": here.key})
            with connection.getresponse() as response:
                response.read()
            statuses.append(response.status)
    return statuses


def test_connections_are_reused(here: Loopback, edge: CannedServer) -> None:
    """A connection to the edge is kept for the next call."""
    edge.stays = True
    assert ask_often(here, 3) == [200] * 3
    assert (edge.connections, len(edge.seen)) == (1, 3)


def test_a_closed_connection_costs_no_call(here: Loopback, edge: CannedServer) -> None:
    """A connection that the edge has closed meanwhile is replaced."""
    assert ask_often(here, 3) == [200] * 3
    assert (edge.connections, len(edge.seen)) == (3, 3)


def test_a_call_that_may_have_been_taken_is_not_sent_twice(here: Loopback, edge: CannedServer) -> None:
    """An unsafe call that the edge may have taken is not sent again."""
    edge.stays = True
    with connected(here) as connection:
        for status in (200, 502):
            connection.request("POST", "/openai/v1/responses", b"{}", headers={"x-api-key": here.key})
            with connection.getresponse() as response:
                response.read()
            assert response.status == status
            edge.pieces.clear()  # it takes the next call, and closes
    assert (edge.connections, len(edge.seen)) == (1, 2)


def test_an_idle_connection_is_dropped(here: Loopback, edge: CannedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was idle for long is not used again."""
    monkeypatch.setattr(upstream, "_IDLE", 0.0)
    edge.pieces[:] = [b"HTTP/1.1 204 No Content\r\n\r\n"]
    assert ask_often(here, 2) == [204] * 2
    assert edge.connections == 2


def test_an_unreachable_edge_is_an_sdk_error(here: Loopback, edge: CannedServer) -> None:
    """An unreachable edge is an error in the form that SDKs show."""
    edge.server.shutdown(socket.SHUT_RDWR)
    edge.server.close()
    status, body = ask(here, x_api_key=here.key)
    assert (status, json.loads(body)["error"]["code"]) == (502, "unreachable")


def test_it_listens_on_loopback_until_the_end(provider: TokenProvider) -> None:
    """The proxy listens on loopback only, and ends with the block."""
    with loopback.serve({"openai": Upstream("openai", provider)}) as one:
        assert loopback.HOST == "127.0.0.1"
        assert ask(one)[0] == 401
    with pytest.raises(ConnectionRefusedError):
        ask(one)


def test_the_key_is_in_no_repr(here: Loopback) -> None:
    """The key is in no repr."""
    assert here.key not in repr(here)
