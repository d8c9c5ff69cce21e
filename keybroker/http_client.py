"""One HTTP request, bounded in time and size; redirects are never followed."""

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
from urllib.parse import SplitResult, urlencode, urlsplit

from keybroker.broker_url import check_broker_url, check_url
from keybroker.connection import connect_to
from keybroker.deadline_reader import DeadlineReader
from keybroker.errors import Unreachable
from keybroker.unix_socket import UnixConnection

RESPONSE_LIMIT = 256 * 1024
"""Bytes of a response at most."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response. headers: names in lower case, the last one of each."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def post(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> Response:
    """Send one POST to the broker and return the response, whatever its status.

    timeout: seconds to connect, and again until the response is complete.
    Raises Unreachable; NotConfigured if a secret must not be sent to this URL.
    """
    return _send("POST", check_broker_url(url), body, headers, timeout)


def get(url: str, headers: Mapping[str, str], timeout: float) -> Response:
    """Send one GET, as `post` does its POST; the URL may have a query."""
    return _send("GET", check_url(url, "URL"), None, headers, timeout)


def post_form(url: str, form: Mapping[str, str], timeout: float) -> Response:
    """Send one form to an issuer's endpoint, as `post` does; the URL may have a query."""
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    return _send("POST", check_url(url, "URL"), urlencode(form).encode(), headers, timeout)


def call(  # noqa: PLR0913, PLR0917  the parts of a request
    method: str, url: str, body: bytes, headers: Mapping[str, str], timeout: float, limit: int, through: str = ""
) -> Response:
    """Send one request to the administration, as `post` does; the URL may have a query. limit: bytes of the response.

    through: the path of a UNIX socket; "": to the URL's host.
    """
    return _send(method, check_url(url, "administration URL"), body or None, headers, timeout, limit, through)


def get_metadata(url: str, headers: Mapping[str, str], timeout: float) -> Response:
    """Send one GET to a cloud's metadata server, over plain HTTP: the request must hold no secret."""
    return _send("GET", urlsplit(url), None, headers, timeout)


def _send(  # noqa: PLR0913, PLR0917  the parts of a request
    method: str,
    url: SplitResult,
    body: bytes | None,
    headers: Mapping[str, str],
    timeout: float,
    limit: int = RESPONSE_LIMIT,
    through: str = "",
) -> Response:
    if timeout <= 0:
        raise ValueError("timeout must be positive")
    connection = UnixConnection(through, timeout) if through else connect_to(url, timeout)
    try:
        connection.connect()
        deadline = time.monotonic() + timeout
        connection.response_class = functools.partial(_DeadlineResponse, deadline=deadline)  # type: ignore[assignment]  # it makes one
        connection.request(method, url.path + (f"?{url.query}" if url.query else ""), body, dict(headers))
        with connection.getresponse() as response:
            content = response.read(limit + 1)
            lower_headers = {name.lower(): value for name, value in response.getheaders()}
    except (OSError, HTTPException) as error:
        raise Unreachable(f"cannot reach {through or url.netloc}: {_reason(error)}") from error
    finally:
        connection.close()
    if len(content) > limit:
        raise Unreachable(f"the response from {through or url.netloc} is larger than {limit} bytes")
    return Response(response.status, lower_headers, content)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); set SSL_CERT_FILE to a CA bundle"
    return "timed out" if isinstance(error, TimeoutError) else str(error) or type(error).__name__


class _DeadlineResponse(HTTPResponse):
    """A response whose head and body must be complete by `deadline`, in seconds of the monotonic clock."""

    def __init__(self, sock: socket.socket, *arguments: Any, deadline: float, **named: Any) -> None:  # noqa: ANN401  as http.client has it
        super().__init__(sock, *arguments, **named)
        self.fp.close()
        self.fp = io.BufferedReader(DeadlineReader(sock, deadline))
