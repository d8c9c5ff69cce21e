"""One HTTP request that cannot hang, cannot fill the memory and goes nowhere but where it was sent."""

from __future__ import annotations

import functools
import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, urlsplit

from keybroker.errors import Unreachable

ANSWER_LIMIT = 256 * 1024
"""Bytes of an answer at most."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read whole. headers: names in lower case, the last one of each."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def post(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> Answer:
    """Send one POST and return what was answered, whatever its status; redirects are not followed.

    timeout: seconds to connect, and again seconds from then until the answer is there whole.
    Raises Unreachable; ValueError if the URL is none to send a secret to.
    """
    where = _checked(url)
    if timeout <= 0:
        raise ValueError("the timeout must be longer than no time at all")
    connection = _connection(where, timeout)
    try:
        connection.connect()
        ends = time.monotonic() + timeout
        connection.response_class = functools.partial(_PromptResponse, ends=ends)  # type: ignore[assignment]  # it makes one
        connection.request("POST", where.path, body, dict(headers))
        with connection.getresponse() as response:
            content = response.read(ANSWER_LIMIT + 1)
            named = {name.lower(): value for name, value in response.getheaders()}
    except (OSError, HTTPException) as fault:
        raise Unreachable(f"{where.netloc} cannot be reached: {_reason(fault)}") from fault
    finally:
        connection.close()
    if len(content) > ANSWER_LIMIT:
        raise Unreachable(f"{where.netloc} answered with more than {ANSWER_LIMIT} bytes")
    return Answer(response.status, named, content)


def _checked(url: str) -> SplitResult:
    where = urlsplit(url)
    # SECURITY: an identity token crosses no network in the clear (test_plain_http_is_only_for_this_machine).
    if where.scheme != "https" and not (where.scheme == "http" and where.hostname in _LOOPBACK):
        raise ValueError("the broker's URL must start with https:// (http:// on this machine only)")
    if not where.hostname or where.username is not None or where.query or where.fragment:
        raise ValueError("the broker's URL must be a host and a path, without user, query or fragment")
    return where


def _connection(where: SplitResult, timeout: float) -> HTTPConnection:
    host = str(where.hostname)
    if where.scheme == "http":
        return HTTPConnection(host, where.port, timeout=timeout)
    return HTTPSConnection(host, where.port, timeout=timeout, context=ssl.create_default_context())


def _reason(fault: Exception) -> str:
    return "no answer in time" if isinstance(fault, TimeoutError) else str(fault) or type(fault).__name__


class _PromptResponse(HTTPResponse):
    """A response of which head and body together must be there by `ends`, in the seconds of the monotonic clock."""

    def __init__(self, sock: socket.socket, *arguments: Any, ends: float, **named: Any) -> None:  # noqa: ANN401  as given
        super().__init__(sock, *arguments, **named)
        self.fp.close()
        self.fp = io.BufferedReader(_PromptReader(sock, ends))


class _PromptReader(io.RawIOBase):
    """Reads a socket until `ends`; a time-out of the socket alone starts anew with every byte that drips in."""

    def __init__(self, sock: socket.socket, ends: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._ends = ends

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401  whatever can be written into
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()
