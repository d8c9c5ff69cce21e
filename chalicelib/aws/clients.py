"""AWS clients whose calls all end within a bounded time, and that never retry by themselves.

This bounds another thing than issuers/fetch.py, so there are two: there one whole exchange, from the look-up of the name
on, runs on a thread of its own, which may be given up; here botocore's kept-open connections serve every call, threads are
`threads.RequestThreads`, and what is bounded is an answer that drips, which botocore's own time-outs let run on for ever.
"""

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

from chalicelib.aws import idle
from chalicelib.aws.round_trip import CONNECTIONS, ROUND_TRIP_SECONDS

CALL_SECONDS = ROUND_TRIP_SECONDS
"""Seconds within which an answer must be complete, counted from the end of the request; half as many to connect."""


def make(service: str, region: str, endpoint: str | None = None, session: Any = None) -> Any:  # noqa: ANN401  the client of any service
    """Return a client. endpoint: of an AWS emulator, None for AWS itself. session: whose credentials it signs with.

    There are no retries, since one could add to a counter twice. What is switched off below saves half of the time that
    botocore spends on anything but HTTP (docs/performance.md).
    """
    bounds = botocore.config.Config(
        connect_timeout=CALL_SECONDS / 2,
        read_timeout=CALL_SECONDS,
        retries={"total_max_attempts": 1},
        max_pool_connections=CONNECTIONS,
        user_agent="keybroker",  # otherwise it is built again, twice per call
        parameter_validation=False,  # mypy checks what we send, and so does AWS
        account_id_endpoint_mode="disabled",  # the region's own address
    )
    client: Any = (session or _session()).create_client(
        service, region_name=region, endpoint_url=endpoint, config=bounds
    )
    client._endpoint.http_session._pool_classes_by_scheme.update(http=_Pool, https=_TlsPool)  # noqa: SLF001  no other way in
    return client


def patient(service: str, region: str, attempts: int = 5) -> Any:  # noqa: ANN401  the client of any service
    """Return a client for a command, which may run far away: it waits, and tries again.

    attempts: 1 for what must not be done twice.
    """
    retries: Any = {"mode": "standard", "total_max_attempts": attempts}
    bounds = botocore.config.Config(connect_timeout=10, read_timeout=30, retries=retries)
    return _session().create_client(service, region_name=region, config=bounds)


@functools.cache
def _session() -> Any:  # noqa: ANN401  botocore's own has no types
    """Return the one session: each new one reads the list of all endpoints again."""
    return botocore.session.get_session()


class _Within(io.RawIOBase):
    """A socket's bytes until a deadline (monotonic): a socket's own time-out starts again with every byte."""

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


class _NoLongIdle:
    """A pool, put before a class of botocore's, that connects anew rather than use a connection that was idle for too long."""

    def _get_conn(self, timeout: float | None = None) -> Any:  # noqa: ANN401  as urllib3 has it
        connection: Any = super()._get_conn(timeout)  # type: ignore[misc]  # the pool's
        if connection.sock and idle.is_too_long(connection.used, idle.now()):
            connection.close()  # it connects again by itself
        return connection

    def _put_conn(self, conn: Any) -> None:  # noqa: ANN401  as urllib3 has it
        if conn is not None:
            conn.used = idle.now()
        super()._put_conn(conn)  # type: ignore[misc]  # the pool's


class _Pool(_NoLongIdle, AWSHTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(_NoLongIdle, AWSHTTPSConnectionPool):
    ConnectionCls = _TlsConnection
