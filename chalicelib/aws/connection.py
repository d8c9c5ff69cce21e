"""A kept HTTP/1.1 connection that never blocks: its methods are generators that yield what they wait for.

`edge_client` waits for several at once. Only what AWS's JSON services answer is read: one answer with a content-length.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import ssl
from collections.abc import Generator, Mapping
from typing import NamedTuple, TypeVar

from chalicelib.aws import idle
from chalicelib.aws.names import Names

ANSWER_BYTES = 3 * 2**20
"""An answer's most bytes: DynamoDB's items have 400 KB at most, and a call reads six."""
HEAD_BYTES = 16 * 2**10
"""Most bytes of an answer's status and headers."""
_READ = 2**16

_T = TypeVar("_T")
Wait = tuple[int, int]
"""A file descriptor, and what it is waited for: `select.POLLIN` or `POLLOUT`."""
Waiting = Generator[Wait, None, _T]


class NoAnswer(Exception):  # noqa: N818  what happened
    """What came is not a whole HTTP answer."""


class Place(NamedTuple):
    """Where a service is. tls: None for plain HTTP, which only tests speak."""

    host: str
    port: int
    tls: ssl.SSLContext | None


class Answer(NamedTuple):
    """An HTTP answer. headers: by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """One connection, for one request at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._used = idle.now()

    @property
    def session(self) -> ssl.SSLSession | None:
        """What a later connection to the same place can resume; there is nothing before the first answer."""
        return self._socket.session if isinstance(self._socket, ssl.SSLSocket) else None

    def is_usable(self) -> bool:
        """Whether it was used seconds ago, and nothing has come since: no farewell, no answer that nobody asked for."""
        if idle.is_too_long(self._used, idle.now()):
            return False
        if not _ready(self._socket):
            return True
        # A server may have sent what is TLS's own: the tickets of a session come after the handshake, unasked.
        try:
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def exchange(self, request: bytes) -> Waiting[tuple[Answer, bool]]:
        """Send a request; return its answer, and whether the connection can be kept. Raises OSError, NoAnswer."""
        yield from self._send(request)
        received = bytearray()
        yield self._socket.fileno(), select.POLLIN
        while (end := received.find(b"\r\n\r\n")) < 0 and len(received) <= HEAD_BYTES:
            yield from self._receive(received)
        if not 0 <= end <= HEAD_BYTES:
            raise NoAnswer
        status, headers = _head(bytes(received[:end]))
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 9) or int(length) > ANSWER_BYTES:
            raise NoAnswer
        whole = end + 4 + int(length)
        while len(received) < whole:
            yield from self._receive(received)
        if len(received) > whole:
            raise NoAnswer
        self._used = idle.now()
        keep = "close" not in headers.get("connection", "").lower()
        return Answer(status, headers, bytes(received[end + 4 :])), keep

    def _send(self, request: bytes) -> Waiting[None]:
        left = memoryview(request)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                yield self._socket.fileno(), select.POLLOUT
            except ssl.SSLWantReadError:
                yield self._socket.fileno(), select.POLLIN

    def _receive(self, received: bytearray) -> Waiting[None]:
        try:
            found = self._socket.recv(_READ)
        except (BlockingIOError, ssl.SSLWantReadError):
            yield self._socket.fileno(), select.POLLIN
        except ssl.SSLWantWriteError:
            yield self._socket.fileno(), select.POLLOUT
        else:
            if not found:
                raise NoAnswer
            received += found


def connect(place: Place, names: Names, session: ssl.SSLSession | None = None) -> Waiting[Connection]:
    """Connect to one of the place's addresses; raises OSError if none answers. session: to be resumed, of this place."""
    fault: OSError | None = None
    addresses = yield from names.addresses(place.host, place.port)
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind, protocol)
        try:
            sock = yield from _connected(sock, address, place, session)
        except OSError as error:
            sock.close()
            fault = error
        except BaseException:  # it was given up, for it took too long
            sock.close()
            names.doubt(place.host, place.port)
            raise
        else:
            return Connection(sock)
    names.doubt(place.host, place.port)
    raise fault or OSError(place.host)


def _connected(
    sock: socket.socket, address: object, place: Place, session: ssl.SSLSession | None
) -> Waiting[socket.socket]:
    sock.settimeout(0.0)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    found = sock.connect_ex(address)  # type: ignore[arg-type]  # as getaddrinfo has it
    if found == errno.EINPROGRESS:
        yield sock.fileno(), select.POLLOUT
        found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if found:
        raise OSError(found, os.strerror(found))
    if place.tls is None:
        return sock
    # SECURITY: certificate and name are checked, and nothing is sent before (test_a_stranger_s_certificate_is_refused).
    # In a resumed session they are not, so it is the same place's or none (test_a_session_stays_with_its_host).
    wrapped = place.tls.wrap_socket(
        sock, server_hostname=place.host.encode(), do_handshake_on_connect=False, session=session
    )
    try:
        while True:
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                yield wrapped.fileno(), select.POLLIN
            except ssl.SSLWantWriteError:
                yield wrapped.fileno(), select.POLLOUT
            else:
                return wrapped
    except BaseException:
        wrapped.close()
        raise


def _ready(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest.partition(" ")[0]
    if version != "HTTP/1.1" or len(status) != 3 or not (status.isascii() and status.isdigit()):
        raise NoAnswer
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or (name == "content-length" and name in headers) or name == "transfer-encoding":
            raise NoAnswer
        headers[name] = value.strip()
    return int(status), headers


def close_quietly(connection: Connection | None) -> None:
    """Close a connection, if there is one."""
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.close()
