from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from local.addresses import Listen, bind
from local.metrics.page import Page


@contextmanager
def served(text: Callable[[], bytes] = lambda: b"numbers 1\n") -> Iterator[int]:
    listening = bind("metrics", Listen("127.0.0.1", 0), 16)
    with closing(listening), Page(listening, text, "text/plain; version=0.0.4").running():
        yield listening.getsockname()[1]


def ask(port: int, method: str = "GET", path: str = "/metrics", host: str = "127.0.0.1") -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_the_page_and_nothing_else() -> None:
    """`GET /metrics` answers the numbers; there is no other path and no other method."""
    with served() as port:
        assert ask(port) == (200, b"numbers 1\n")
        assert ask(port, path="/metrics?x=1", host=f"localhost:{port}") == (200, b"numbers 1\n")
        assert ask(port, "HEAD") == (200, b"")
        assert ask(port, "POST")[0] == 405
        assert ask(port, path="/admin/policy")[0] == 404
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)


def test_a_name_that_leads_here_is_refused() -> None:
    """A web page that has a name of its own lead to this machine reads nothing."""
    with served() as port:
        for host in ("attacker.example", "127.0.0.1.attacker.example:80", "localhost.attacker.example", ""):
            assert ask(port, host=host)[0] == 403, host


def test_numbers_that_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    """A fault is a 500 without its text, and the next scrape tries again."""
    found: Iterator[Exception | bytes] = iter([ValueError("sk-canary"), b"numbers 2\n"])

    def text() -> bytes:
        one = next(found)
        if isinstance(one, Exception):
            raise one
        return one

    with served(text) as port:
        status, body = ask(port)
        assert (status, b"canary" in body) == (500, False)
        assert "numbers cannot be read: ValueError" in caplog.text
        assert ask(port) == (200, b"numbers 2\n")
