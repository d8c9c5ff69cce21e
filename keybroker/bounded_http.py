"""One HTTP request that cannot hang, cannot fill the memory and goes nowhere but where it was sent."""

from __future__ import annotations

import functools
import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import SplitResult, urlsplit

from keybroker.broker_url import checked_broker, checked_url
from keybroker.connection import connection_to
from keybroker.errors import Unreachable

ANSWER_LIMIT = 256 * 1024
"""Bytes of an answer at most."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read whole. headers: names in lower case, the last one of each."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def post(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> Answer:
    """Send one POST to the broker and return what was answered, whatever its status; redirects are not followed.

    timeout: seconds to connect, and again seconds from then until the answer is there whole.
    Raises Unreachable; NotConfigured if the URL is none to send a secret to.
    """
    return _send("POST", checked_broker(url), body, headers, timeout)


def get(url: str, headers: Mapping[str, str], timeout: float) -> Answer:
    """Send one GET, as `post` does its POST; the URL may have a query."""
    return _send("GET", checked_url(url, "the URL"), None, headers, timeout)


def call(  # noqa: PLR0913, PLR0917  what a request is made of
    method: str, url: str, body: bytes, headers: Mapping[str, str], timeout: float, limit: int
) -> Answer:
    """Send one request to the administration, as `post` does; the URL may have a query. limit: bytes of an answer."""
    return _send(method, checked_url(url, "the administration's URL"), body or None, headers, timeout, limit)


def get_in_this_cloud(url: str, headers: Mapping[str, str], timeout: float) -> Answer:
    """Send one GET to a cloud's metadata server, which speaks plain HTTP: nothing secret may be in the request."""
    return _send("GET", urlsplit(url), None, headers, timeout)


def _send(  # noqa: PLR0913, PLR0917  what a request is made of
    method: str,
    where: SplitResult,
    body: bytes | None,
    headers: Mapping[str, str],
    timeout: float,
    limit: int = ANSWER_LIMIT,
) -> Answer:
    if timeout <= 0:
        raise ValueError("the timeout must be longer than no time at all")
    connection = connection_to(where, timeout)
    try:
        connection.connect()
        ends = time.monotonic() + timeout
        connection.response_class = functools.partial(_PromptResponse, ends=ends)  # type: ignore[assignment]  # it makes one
        connection.request(method, where.path + (f"?{where.query}" if where.query else ""), body, dict(headers))
        with connection.getresponse() as response:
            content = response.read(limit + 1)
            named = {name.lower(): value for name, value in response.getheaders()}
    except (OSError, HTTPException) as fault:
        raise Unreachable(f"{where.netloc} cannot be reached: {_reason(fault)}") from fault
    finally:
        connection.close()
    if len(content) > limit:
        raise Unreachable(f"{where.netloc} answered with more than {limit} bytes")
    return Answer(response.status, named, content)


def _reason(fault: Exception) -> str:
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({fault.verify_message}); SSL_CERT_FILE names a file of whom to trust"
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
