"""Clients of AWS whose every call ends in bounded time, and that never try again by themselves."""

from __future__ import annotations

import functools
import http.client
import io
import socket
import time
from typing import Any

import botocore.config
import botocore.session
from botocore.awsrequest import AWSHTTPConnection, AWSHTTPConnectionPool, AWSHTTPSConnection, AWSHTTPSConnectionPool

CALL_SECONDS = 1.0
"""Seconds within which an answer has to be complete, from when it begins to be waited for; half of them to connect."""

CONNECTIONS = 32
"""Requests under way at once at most."""


def make(service: str, region: str, endpoint: str | None = None) -> Any:  # noqa: ANN401  the client of any service
    """Return a client. endpoint: where AWS is, if it is not AWS itself.

    Counters must not be added to twice, and a retry behind our back could do that. What is left out below is half of
    what botocore's own work costs that is not its HTTP (docs/performance.md).
    """
    bounds = botocore.config.Config(
        connect_timeout=CALL_SECONDS / 2,
        read_timeout=CALL_SECONDS,
        retries={"total_max_attempts": 1},
        max_pool_connections=CONNECTIONS,
        user_agent="keybroker",  # else it is put together anew, twice a call
        parameter_validation=False,  # mypy has checked what we send, and AWS does
        account_id_endpoint_mode="disabled",  # the region's own address
    )
    client: Any = _session().create_client(service, region_name=region, endpoint_url=endpoint, config=bounds)
    client._endpoint.http_session._pool_classes_by_scheme.update(http=_Pool, https=_TlsPool)  # noqa: SLF001  no other way in
    return client


@functools.cache
def _session() -> Any:  # noqa: ANN401  botocore's own has no types
    """Return the one session, for each reads the list of all endpoints anew."""
    return botocore.session.get_session()


class _Within(io.RawIOBase):
    """What a socket brings until some time (monotonic): its own time-out starts anew with every byte."""

    def __init__(self, source: socket.socket, raw: io.RawIOBase, ends: float) -> None:
        self._socket, self._raw, self._ends = source, raw, ends

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401  as io has it
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer has not ended in time")
        self._socket.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **named: Any) -> None:  # noqa: ANN401  as http.client has it
        super().__init__(sock, *arguments, **named)
        ends = time.monotonic() + CALL_SECONDS
        self.fp = io.BufferedReader(_Within(sock, self.fp.detach(), ends))


class _Connection(AWSHTTPConnection):
    response_class = _Response  # type: ignore[assignment]  # the stubs want another of botocore's own


class _TlsConnection(AWSHTTPSConnection):
    response_class = _Response  # type: ignore[assignment]  # the stubs want another of botocore's own


class _Pool(AWSHTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(AWSHTTPSConnectionPool):
    ConnectionCls = _TlsConnection
