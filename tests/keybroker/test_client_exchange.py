"""The client's rules, against real sockets that answer like a broker, or worse."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest

import keybroker
from keybroker.http_client import RESPONSE_LIMIT
from tests.running import ROOT, Running

GOOD = {
    "access_token": "ey.token.text",
    "token_type": "Bearer",
    "expires_in": 900,
    "scope": "GET:/v1/models",
    "base_url": "https://edge.example.com/openai/v1",
}


@contextlib.contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[bytes]]]:
    """Serve one connection: read the request, then let `answer` write. Gives the URL and the requests."""
    requests: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(5)
                requests.append(_request(connection))
                answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", requests
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def _request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def plain(status: int, body: object, *headers: str) -> Callable[[socket.socket], None]:
    """Answer with a status and a body; anything but bytes as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = "\r\n".join([f"HTTP/1.1 {status} X", f"Content-Length: {len(data)}", "Connection: close", *headers])
    return lambda connection: connection.sendall(head.encode() + b"\r\n\r\n" + data)


def ask(url: str, **more: Any) -> keybroker.Token:  # noqa: ANN401  as exchange_token has them
    return keybroker.exchange_token(url, "subject.token.text", "openai", timeout=2.0, **more)


def test_a_broker_gives_a_token(running: Running) -> None:
    """A running broker gives a token that says what it opens."""
    token = keybroker.exchange_token(running.broker, running.mint("9201"), "openai", grant="ci", scope="GET:/v1/models")
    assert (token.scope, token.expires_in) == ("GET:/v1/models", 900)
    assert token.base_url == f"{running.edge}/openai/v1"
    assert token.access_token.count(".") == 2


def test_the_same_idempotency_key_is_a_retry(running: Running) -> None:
    """A repetition with the same idempotency key is a retry; one without is refused."""
    subject = running.mint("9202")
    key = "k" * 32
    first = keybroker.exchange_token(running.broker, subject, "openai", idempotency_key=key)
    again = keybroker.exchange_token(running.broker, subject, "openai", idempotency_key=key)
    assert again.access_token.split(".")[1] == first.access_token.split(".")[1]
    with pytest.raises(keybroker.Refused) as caught:
        keybroker.exchange_token(running.broker, subject, "openai")
    assert (caught.value.error, caught.value.status) == ("invalid_grant", 400)
    found = running.administer("GET", f"/admin/audit?request_id={caught.value.request_id}").json["items"]
    assert [one["reason"] for one in found] == ["replayed"]


def test_a_used_up_quota_says_when_to_retry(running: Running) -> None:
    """A used-up quota is refused with the seconds to wait."""
    for _ in range(3):
        running.token("9203", owner="7")
    with pytest.raises(keybroker.Refused) as caught:
        keybroker.exchange_token(running.broker, running.mint("9203", repository_owner_id="7"), "openai")
    assert (caught.value.error, caught.value.status) == ("quota_exceeded", 429)
    assert 0 < (caught.value.retry_after or 0) <= 86400


def test_the_request_is_rfc_8693() -> None:
    """The request is RFC 8693's, and leaves out what was not given."""
    with answering(plain(200, GOOD)) as (url, requests):
        ask(f"{url}/stage/", idempotency_key="i" * 32)
    head, _, body = requests[0].decode().partition("\r\n\r\n")
    assert head.startswith("POST /stage/token HTTP/1.1\r\n")
    assert f"idempotency-key: {'i' * 32}" in head
    assert {name: values[0] for name, values in parse_qs(body).items()} == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": "subject.token.text",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "audience": "openai",
    }


def test_the_token_is_not_in_its_repr() -> None:
    """A token's repr does not contain it."""
    token = keybroker.Token("ey.token.text", 900, "GET:/v1/models", "https://edge.example.com")
    assert "ey.token" not in repr(token)
    assert "ey.token" not in f"{token}"


def test_a_refusal_has_all_of_its_members() -> None:
    """A refusal carries all that the broker said."""
    no = {"error": "invalid_target", "error_description": "no grant"}
    with (
        answering(plain(400, no, "x-request-id: r-1", "Retry-After: 7")) as (url, _),
        pytest.raises(keybroker.Refused) as caught,
    ):
        ask(url)
    refused = caught.value
    said = (refused.error, refused.description, refused.status, refused.request_id, refused.retry_after)
    assert said == ("invalid_target", "no grant", 400, "r-1", 7)
    assert str(refused) == "invalid_target: no grant (request r-1)"


def test_a_refusal_may_be_a_bare_code() -> None:
    """A refusal without a description is its bare code."""
    with answering(plain(400, {"error": "invalid_grant"})) as (url, _), pytest.raises(keybroker.Refused) as caught:
        ask(url)
    assert (str(caught.value), caught.value.retry_after) == ("invalid_grant", None)


@pytest.mark.parametrize("wait", ["soon", "-1", "1.5", "٣", "9" * 10])
def test_what_is_no_time_is_no_retry_after(wait: str) -> None:
    """A Retry-After that is neither whole seconds nor a date is ignored."""
    with (
        answering(plain(429, {"error": "quota_exceeded"}, f"Retry-After: {wait}")) as (url, _),
        pytest.raises(keybroker.Refused) as caught,
    ):
        ask(url)
    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>"),
        (200, []),
        (200, b"[" * 100_000),
        (200, {**GOOD, "access_token": ""}),
        (200, {**GOOD, "access_token": 7}),
        (200, {**GOOD, "token_type": "mac"}),
        (200, {**GOOD, "expires_in": True}),
        (200, {**GOOD, "expires_in": "900"}),
        (200, {**GOOD, "expires_in": 0}),
        (200, {name: value for name, value in GOOD.items() if name != "base_url"}),
        (204, {"error": "invalid_grant"}),
        (403, {"message": "Forbidden"}),
        (400, {"error": {"message": "another dialect"}}),
    ],
)
def test_an_unexpected_response_is_unreachable(status: int, body: object) -> None:
    """A response that no broker gives is Unreachable."""
    with (
        answering(plain(status, body)) as (url, _),
        pytest.raises(keybroker.Unreachable, match="not a Keybroker broker"),
    ):
        ask(url)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_what_stands_before_the_broker_may_be_busy(status: int) -> None:
    """A 429 or 5xx that no broker gives is told as such, with the Retry-After that it has."""
    with (
        answering(plain(status, b"Bad Gateway", "Retry-After: 7")) as (url, _),
        pytest.raises(keybroker.Unreachable, match=rf"HTTP {status}\): the broker, or what stands before it") as caught,
    ):
        ask(url)
    assert (caught.value.status, caught.value.retry_after) == (status, 7)


def test_redirects_are_not_followed() -> None:
    """Redirects are not followed."""
    with answering(plain(200, GOOD)) as (elsewhere, requests):
        with (
            answering(plain(307, b"", f"Location: {elsewhere}/token")) as (url, _),
            pytest.raises(keybroker.Unreachable, match="HTTP 307"),
        ):
            ask(url)
        assert requests == []


def test_an_oversized_response_is_not_read() -> None:
    """A response over the limit is not read to its end."""
    with (
        answering(plain(200, b" " * (RESPONSE_LIMIT + 1))) as (url, _),
        pytest.raises(keybroker.Unreachable, match="larger than"),
    ):
        ask(url)


def test_a_truncated_response_is_unreachable() -> None:
    """A response that is cut off is Unreachable."""

    def cut(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")

    with answering(cut) as (url, _), pytest.raises(keybroker.Unreachable, match="not a Keybroker broker"):
        ask(url)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"])
def test_a_trickling_response_times_out(start: bytes) -> None:
    """A response that trickles in is given up at the time limit."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(start)
        for _ in range(500):
            connection.sendall(b"x")
            time.sleep(0.02)

    began = time.monotonic()
    with answering(drip) as (url, _), pytest.raises(keybroker.Unreachable, match="timed out"):
        keybroker.exchange_token(url, "subject.token.text", "openai", timeout=0.1)
    assert time.monotonic() - began < 5


def test_a_closed_port_is_unreachable() -> None:
    """A closed port is Unreachable, and the text contains no token."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(keybroker.Unreachable, match=r"cannot reach 127\.0\.0\.1:\d+") as caught:
        ask(url)
    assert "subject.token" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://broker.example.com", "broker.example.com", "ftp://127.0.0.1", ""])
def test_plain_http_is_only_for_this_machine(url: str) -> None:
    """Plain HTTP is only for this machine."""
    with pytest.raises(ValueError, match="https://"):
        ask(url)


@pytest.mark.parametrize("url", ["https://user@broker.example.com", "https://broker.example.com?a=b", "https://"])
def test_a_url_is_host_and_path(url: str) -> None:
    """A URL with more or less than host and path is refused."""
    with pytest.raises(ValueError, match="a host and a path"):
        ask(url)


@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_a_timeout_must_be_positive(timeout: float) -> None:
    """A timeout that is not positive is refused."""
    with pytest.raises(ValueError, match="timeout"):
        keybroker.exchange_token("http://127.0.0.1:1", "subject.token.text", "openai", timeout=timeout)


def test_every_error_is_a_keybroker_error() -> None:
    """Every error is a KeybrokerError."""
    assert issubclass(keybroker.Refused, keybroker.KeybrokerError)
    assert issubclass(keybroker.Unreachable, keybroker.KeybrokerError)


def test_the_client_needs_only_the_standard_library() -> None:
    """The client imports nothing but the standard library."""
    program = (
        "import sys, keybroker;"
        "print(sorted({name.split('.')[0] for name in sys.modules} - {'keybroker', '__main__'} - sys.stdlib_module_names))"
    )
    command = [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {program}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip() == "[]"
