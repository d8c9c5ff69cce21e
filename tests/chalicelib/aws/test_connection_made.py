"""The edge's connections as they are made: TLS sessions that are resumed, and addresses that do not answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.aws import endpoints
from chalicelib.aws.connection import Place, _ready
from chalicelib.aws.edge_client import EdgeClient, Endpoint
from chalicelib.aws.names import Names
from tests.chalicelib.aws.test_edge_client import CREDENTIALS, GOOD, _soon, count, failed, get, run
from tests.chalicelib.issuers.test_fetch import certificate
from tests.faulty_dynamodb import Door, door


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return certificate(tmp_path, "localhost")


@pytest.fixture
def secure(file: Path) -> Iterator[Door]:
    with door(file) as one:
        yield one


def client_of(opened: Door, file: Path) -> EdgeClient:
    tls = endpoints._tls({"AWS_CA_BUNDLE": str(file)})
    port = opened.edge_client._endpoints["dynamodb"].place.port
    return EdgeClient({"dynamodb": Endpoint("us-east-1", Place("localhost", port, tls))}, lambda: CREDENTIALS)


def resumed(client: EdgeClient) -> list[bool | None]:
    return [getattr(one._socket, "session_reused", None) for one in client._kept["dynamodb"]]


def test_a_later_connection_resumes_the_session(secure: Door, file: Path) -> None:
    """A second connection to a place takes no certificate and no signature any more."""
    with secure.failing(GOOD), contextlib.closing(client_of(secure, file)) as client:
        run(client, get())
        assert resumed(client) == [False]
        client.close()
        run(client, get(), get())
        assert resumed(client) == [True, True]


def test_what_tls_sends_by_itself_is_no_farewell(secure: Door, file: Path) -> None:
    """A connection that was made ahead is used, though a session's tickets have come on it; one that was closed is not."""
    with secure.failing(GOOD) as arrived, contextlib.closing(client_of(secure, file)) as client:
        client.open({"dynamodb": 2}, get(), 5.0)
        ahead = set(client._kept["dynamodb"])
        assert len(ahead) == 3
        assert _soon(lambda: sum(_ready(one._socket) for one in ahead) >= 2)
        assert run(client, get(), count(), count()) == [{"Item": {}}] * 3
        assert (set(client._kept["dynamodb"]), len(arrived)) == (ahead, 4)
    with secure.failing(GOOD), contextlib.closing(client_of(secure, file)) as client:
        client.open({"dynamodb": 2}, get(), 5.0)
        ahead = set(client._kept["dynamodb"])
        with secure.gone():
            assert _soon(lambda: all(_ready(one._socket) for one in ahead))
        assert run(client, count(), count()) == [{"Item": {}}] * 2
        assert not ahead & set(client._kept["dynamodb"])


def test_a_session_stays_with_its_host(secure: Door, file: Path) -> None:
    """A session that the server has forgotten is made anew, and another host is checked as if there were none."""
    with secure.failing(GOOD), contextlib.closing(client_of(secure, file)) as client:
        run(client, get())
        client.close()
        with secure.gone():
            pass  # another server by now, which has the same certificate and none of its sessions
        run(client, get())
        assert resumed(client) == [False]
        client.close()
        client._endpoints = {"dynamodb": client._endpoints["dynamodb"]._replace(place=_of_a_stranger(client))}
        assert failed(client, get()) == "NoConnection"


def _of_a_stranger(client: EdgeClient) -> Place:
    return client._endpoints["dynamodb"].place._replace(host="127.0.0.1")  # not in the certificate


def test_the_next_address_is_tried(opened: Door) -> None:
    """An address that refuses is passed over."""
    port = opened.edge_client._endpoints["dynamodb"].place.port
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = closed.getsockname()[1]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", one)) for one in (refusing, port)]
    names = Names(lambda _host, _port: found)
    at = {"dynamodb": Endpoint("us-east-1", Place("dynamodb.example.com", port, None))}
    with opened.failing(GOOD), contextlib.closing(EdgeClient(at, lambda: CREDENTIALS, names=names)) as client:
        assert run(client, get()) == [{"Item": {}}]


def test_an_address_that_fails_is_looked_up_again(opened: Door) -> None:
    """What has not answered, or not in time, is not believed for the next call."""
    port = opened.edge_client._endpoints["dynamodb"].place.port
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first:
        first.connect(full.getsockname())
        addresses = [full.getsockname(), ("127.0.0.1", port)]
        names = Names(lambda _host, _port: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", addresses.pop(0))])
        tls = endpoints._tls({})
        at = {"dynamodb": Endpoint("us-east-1", Place("dynamodb.example.com", port, tls))}
        with contextlib.closing(EdgeClient(at, lambda: CREDENTIALS, names=names)) as client:
            with pytest.raises(TimeoutError):
                run(client, get(), seconds=0.05)
            client._endpoints = {"dynamodb": Endpoint("us-east-1", Place("dynamodb.example.com", port, None))}
            with opened.failing(GOOD):
                assert run(client, get()) == [{"Item": {}}]


def test_a_name_that_is_never_found_is_a_time_out() -> None:
    """Looking up a name is within the time of the whole."""
    never = threading.Event()

    def hangs(_host: str, _port: int) -> list[tuple[object, ...]]:
        never.wait(10)
        return []

    at = {"dynamodb": Endpoint("us-east-1", Place("dynamodb.example.com", 443, None))}
    with pytest.raises(TimeoutError):
        run(EdgeClient(at, lambda: CREDENTIALS, names=Names(hangs)), get(), seconds=0.05)
    never.set()
