"""The client for all origins: it adds no headers, follows no redirects, and sends nothing twice that could do harm."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from aiohttp import StreamReader
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError

from local.simulator import origin_exchange
from local.simulator.bursts import Bursts
from local.simulator.origin_body import CHUNK
from local.simulator.origin_connection import Listener, OriginConnection
from local.simulator.origin_connector import Leased, OriginConnector
from local.simulator.origin_exchange import OriginAnswer, OriginCall
from local.simulator.origin_request_event import MAX_HEAD
from local.simulator.sending import REPEATABLE, BrokenConnectionError, MalformedAnswerError, Sending

MAX_HEADERS: Final = 256


class OriginClient:
    """The client. `close()` it at the end."""

    def __init__(self, below: int | None = None, bursts: Bursts | None = None) -> None:
        """below: connections may only have descriptors under this number; another one cannot be made. None: any.

        bursts: what requests that are there whole are written by; None: each at once. Call it in the running event loop.
        """
        self._connector = OriginConnector(below)
        self._bursts = bursts or Bursts(lambda: 0)

    async def close(self) -> None:
        """Close the connections."""
        self._connector.end_all()
        await self._connector.close()

    def send_at_once(
        self, address: str, method: str, message: bytes, sending: Sending, listener: Listener
    ) -> Sent | None:
        """Send a whole request over a connection that was kept; None, and nothing sent, if there is none.

        message: its head and its body. listener: is told of the answer. Raises ClientError, OSError or ValueError.
        """
        leased = self._connector.kept(address, sending)
        if leased is None:
            return None
        protocol = leased.protocol
        protocol.listener = listener
        sent = Sent(leased, protocol, self._connector)
        try:
            _expect_answer(protocol, method)
            self._bursts.write(origin_exchange.transport(protocol), message)
        except BaseException:
            sent.close()
            raise
        return sent

    async def send(self, call: OriginCall, sending: Sending) -> OriginAnswer:
        """Send a request once; once more on a new connection if a kept one was over, as far as that is harmless.

        Raises ClientError, TimeoutError, OSError or ValueError.
        """
        head = origin_exchange.head(call)
        try:
            return await self._send(call, head, sending)
        except REPEATABLE as error:
            # SECURITY: a call that the provider may have is never sent twice, unless it only reads
            # (test_only_a_harmless_request_is_repeated).
            if not sending.may_repeat(call.method):
                raise BrokenConnectionError from error
        sending.is_repeated = True
        try:
            return await self._send(call, head, sending)
        except REPEATABLE as error:
            raise BrokenConnectionError from error

    async def _send(self, call: OriginCall, head: bytes, sending: Sending) -> OriginAnswer:
        leased = await self._connector.lease(call.address, sending)
        connection, writing = leased.connection, None
        try:
            _expect_answer(leased.protocol, call.method)
            writing = origin_exchange.send(connection, head, call.body)
            message, content = await origin_exchange.answered(leased.protocol)
        except HttpProcessingError as error:
            _end(connection, writing)
            raise MalformedAnswerError from error
        except BaseException:
            _end(connection, writing)
            raise
        sending.deadline.is_answered()
        return OriginAnswer(connection, message, content, writing, partial(self._connector.keep, leased))


class Sent:
    """A call that was sent over a kept connection, until its answer is there. `close()` it if none is wanted any more."""

    __slots__ = ("_connector", "_is_told", "_leased", "_protocol")

    def __init__(self, leased: Leased, protocol: OriginConnection, connector: OriginConnector) -> None:
        self._leased, self._protocol, self._connector = leased, protocol, connector
        self._is_told = True

    def answer(self, message: RawResponseMessage, content: StreamReader) -> OriginAnswer:
        """Return the answer whose head has arrived."""
        return OriginAnswer(self._leased.connection, message, content, None, self._keep)

    def _keep(self) -> None:
        # SECURITY: what becomes of the connection from here on is another call's, though the viewer of this one may not
        # have taken all of its answer yet (test_a_kept_connection_is_the_next_calls).
        self.silence()
        self._connector.keep(self._leased)

    def silence(self) -> None:
        """Tell the listener no more; another call's, which the connection may have by now, is told on."""
        if self._is_told:
            self._is_told, self._protocol.listener = False, None

    def close(self) -> None:
        """End the call at the origin."""
        self.silence()
        self._leased.connection.close()


def _expect_answer(protocol: ResponseHandler, method: str) -> None:
    protocol.set_response_params(
        skip_payload=method == "HEAD",
        read_until_eof=True,
        auto_decompress=False,
        read_bufsize=CHUNK,
        max_line_size=MAX_HEAD,
        max_field_size=MAX_HEAD,
        max_headers=MAX_HEADERS,
    )


def _end(connection: Connection, writing: asyncio.Task[None] | None) -> None:
    if writing is not None:
        writing.cancel()
    connection.close()
