"""The edge's kept connections: which answers are read, when a connection is kept, and whom TLS lets it talk to."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.aws import endpoints
from chalicelib.aws.connection import ANSWER_BYTES, HEAD_BYTES, NoAnswer, Place, _head
from chalicelib.aws.edge_client import EdgeClient, Endpoint
from tests.chalicelib.aws.test_edge_client import CREDENTIALS, GOOD, client_of, count, failed, get, run
from tests.chalicelib.issuers.test_fetch import certificate
from tests.faulty_dynamodb import Answer, Door, Fault, Turn, answers, door


@pytest.fixture
def client(opened: Door) -> Iterator[EdgeClient]:
    """A client of what is behind the door."""
    made = client_of(opened)
    yield made
    made.close()


def raw(text: bytes) -> Fault:
    """Answer with these bytes."""

    def fault(turn: Turn) -> None:
        turn.wfile.write(text)

    return fault


# What is read

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"content-length: 2\r\n\r\n{}",
        b"HTTP/1.1 20\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 \xb2\xb2\xb2 OK\r\ncontent-length: 2\r\n\r\n{}",
        HEAD + b"content-length: +2\r\n\r\n{}",
        HEAD + b"content-length: 2, 2\r\n\r\n{}",
        HEAD + "content-length: \N{FULLWIDTH DIGIT TWO}\r\n\r\n{}".encode(),
        HEAD + b"content-length: 000000002\r\n\r\n{}",
        HEAD + b"transfer-encoding: identity\r\ncontent-length: 2\r\n\r\n{}",
        HEAD + b"x: y\r\n z\r\ncontent-length: 2\r\n\r\n{}",
        HEAD + b"x: " + b"y" * HEAD_BYTES + b"\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_other_http_is_no_answer(opened: Door, client: EdgeClient, said: bytes) -> None:
    """HTTP/1.0, interim answers, other framings and long heads are a refusal; a count is not sent again."""
    with opened.failing(raw(said)) as arrived, contextlib.suppress(ConnectionError):
        assert failed(client, count()) == "NoAnswer"
    assert (arrived, len(client._kept["dynamodb"])) == (["UpdateItem"], 0)
    with opened.failing(GOOD):
        assert run(client, count()) == [{"Item": {}}]


def test_the_longest_answer_is_read(opened: Door, client: EdgeClient) -> None:
    text = b'{"a": "' + b"x" * (ANSWER_BYTES - 9) + b'"}'
    assert len(text) == ANSWER_BYTES
    with opened.failing(answers(200, text)):
        assert run(client, get()) == [{"a": "x" * (ANSWER_BYTES - 9)}]


@pytest.mark.parametrize("cut", [1, 17, 60])
def test_an_answer_in_pieces_is_read(opened: Door, client: EdgeClient, cut: int) -> None:
    """An answer may come in pieces, however small."""

    def in_pieces(turn: Turn) -> None:
        whole = Answer(200, b'{"Item": {}}').packed()
        for start in range(0, len(whole), cut):
            turn.wfile.write(whole[start : start + cut])
            turn.wfile.flush()

    with opened.failing(in_pieces):
        assert run(client, get(), count()) == [{"Item": {}}] * 2


@settings(max_examples=500)
@given(st.binary(max_size=200))
def test_any_head_is_read_or_refused(rest: bytes) -> None:
    """No bytes of a head are a fault of ours."""
    with contextlib.suppress(NoAnswer):
        status, headers = _head(HEAD[:-2] + rest)
        assert status == 200
        assert all(name == name.lower() for name in headers)


# What is no answer

NO_ANSWERS = {
    "4 MB": answers(200, b'{"a": "' + b"x" * 2**22 + b'"}'),
    "one byte too long": answers(200, b" " * ANSWER_BYTES + b"{}"),
    "4 MB of headers": lambda turn: turn.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 2**16),
    "HTML": answers(200, "<html>hotel</html>"),
    "no JSON": answers(200, '{"Item"'),
    "deep": answers(200, "[" * 100_000),
    "no object": answers(200, "[]"),
    "no HTTP": lambda turn: turn.wfile.write(b"220 smtp.example.com ESMTP\r\n\r\n"),
    "chunked": lambda turn: turn.wfile.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    "no length": lambda turn: turn.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n{}"),
    "two lengths": lambda turn: turn.wfile.write(
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{} "
    ),
    "more than it says": lambda turn: turn.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}{}"),
    "checksum": lambda turn: turn.send(Answer(200, b"{}", "x-amz-crc32: 1\r\n")),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_answer_is_refused(opened: Door, client: EdgeClient, name: str) -> None:
    """What is too long, cut off or not JSON fails the request, and the next one is served."""
    with opened.failing(NO_ANSWERS[name]), contextlib.suppress(ConnectionError):
        assert failed(client, get()) == "NoAnswer"
    with opened.failing(GOOD):
        assert run(client, count()) == [{"Item": {}}]


# When it is kept


@pytest.mark.parametrize(("header", "kept"), [("", 1), ("Keep-Alive", 1), ("Close", 0), ("x, close", 0)])
def test_a_farewell_is_heeded(opened: Door, client: EdgeClient, header: str, kept: int) -> None:
    """A connection whose answer says that it will be closed is not used again."""
    line = f"Connection: {header}\r\n" if header else ""
    with opened.failing(lambda turn: turn.send(Answer(200, b"{}", line))):
        run(client, get())
        assert len(client._kept["dynamodb"]) == kept


# TLS


def refused(place: Place, opened: Door) -> list[str]:
    """Make a request that fails, and return what arrived of it."""
    at = {"dynamodb": Endpoint("us-east-1", place)}
    with opened.failing(GOOD) as arrived:
        assert failed(EdgeClient(at, lambda: CREDENTIALS), get()) == "NoConnection"
    return arrived


def test_a_stranger_s_certificate_is_refused(tmp_path: Path) -> None:
    """Nothing is sent to a server whose certificate is not known, or has another name."""
    file = certificate(tmp_path, "localhost")
    with door(file) as opened:
        port = opened.edge_client._endpoints["dynamodb"].place.port
        trusting = endpoints._tls({"AWS_CA_BUNDLE": str(file)})
        for host, tls in (("localhost", endpoints._tls({})), ("127.0.0.1", trusting)):
            at = {"dynamodb": Endpoint("us-east-1", Place(host, port, tls))}
            with opened.failing(GOOD) as arrived:
                assert failed(EdgeClient(at, lambda: CREDENTIALS), get()) == "NoConnection"
            assert arrived == []
        at = {"dynamodb": Endpoint("us-east-1", Place("localhost", port, trusting))}
        with opened.failing(GOOD), contextlib.closing(EdgeClient(at, lambda: CREDENTIALS)) as client:
            assert run(client, get()) == [{"Item": {}}]


def test_a_server_that_never_greets_is_given_up() -> None:
    """Connecting and TLS are within the time of the whole."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tls = endpoints._tls({})
        at = {"dynamodb": Endpoint("us-east-1", Place("127.0.0.1", silent.getsockname()[1], tls))}
        with pytest.raises(TimeoutError):
            run(EdgeClient(at, lambda: CREDENTIALS), get(), seconds=0.05)


def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    """Nothing is sent to a server whose certificate has expired, though its authority is known."""
    file = certificate(tmp_path, "localhost", until=dt.timedelta(seconds=-1))
    with door(file) as opened:
        port = opened.edge_client._endpoints["dynamodb"].place.port
        assert refused(Place("localhost", port, endpoints._tls({"AWS_CA_BUNDLE": str(file)})), opened) == []


def test_old_tls_is_refused(tmp_path: Path) -> None:
    """A server that speaks nothing newer than TLS 1.1 is not spoken to."""
    file = certificate(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    met: list[str] = []

    def greet() -> None:
        plain, _ = listener.accept()
        with plain:
            try:
                context.wrap_socket(plain, server_side=True)
            except OSError as fault:
                met.append(str(fault))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=greet)
        thread.start()
        tls = endpoints._tls({"AWS_CA_BUNDLE": str(file)})
        at = {"dynamodb": Endpoint("us-east-1", Place("localhost", listener.getsockname()[1], tls))}
        assert failed(EdgeClient(at, lambda: CREDENTIALS), get()) == "NoConnection"
        thread.join(5)
    assert "UNSUPPORTED_PROTOCOL" in met[0]
