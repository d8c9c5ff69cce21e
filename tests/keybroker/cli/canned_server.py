"""A server that answers what a test gave it, over bare sockets, and notes what arrives."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

SECONDS = 30.0


@dataclass
class CannedServer:
    """A server that notes what arrives and answers what it was given, one piece after the other.

    turns: the pieces of the first answers, one after the other; without any the connection is closed. Then `pieces` are.
    """

    server: socket.socket
    pieces: list[bytes] = field(default_factory=list)
    turns: list[list[bytes]] = field(default_factory=list)
    seen: list[bytes] = field(default_factory=list)
    stays: bool = False
    connections: int = 0
    go_on: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server.getsockname()[1]}"

    def serve(self) -> None:
        """Answer one connection after the other: one call of each, or all if `stays`."""
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            with connection, contextlib.suppress(OSError):
                connection.settimeout(SECONDS)
                self._answer(connection)
                while self.stays:
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        self.seen.append(request(connection))
        pieces = self.turns.pop(0) if self.turns else self.pieces
        if not pieces:
            raise ConnectionError("there is no answer: the connection is closed")
        for number, piece in enumerate(pieces):
            if number:
                self.go_on.wait(SECONDS)
            connection.sendall(piece)


def request(connection: socket.socket) -> bytes:
    """Return one request, or one answer, whole; raises OSError if it ends too early."""
    read = b""
    while b"\r\n\r\n" not in read:
        read += _more(connection)
    head, _, body = read.partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        while not body.endswith(b"0\r\n\r\n"):
            body += _more(connection)
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            while len(body) < int(line.partition(b":")[2]):
                body += _more(connection)
    return head + b"\r\n\r\n" + body


def _more(connection: socket.socket) -> bytes:
    read = connection.recv(65536)
    if not read:
        raise ConnectionError("the other side has closed")
    return read


@contextlib.contextmanager
def serving(*pieces: bytes) -> Iterator[CannedServer]:
    """Start one, and end it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = CannedServer(server, list(pieces))
        threading.Thread(target=one.serve, daemon=True).start()
        yield one
        one.go_on.set()
