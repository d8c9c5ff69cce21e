"""A loopback proxy for the edge: each call is forwarded with a token that is valid at that moment.

A program that runs for hours gets the proxy's address and a random key, valid only there, instead of a token that lives
for minutes.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from keybroker.cli import output
from keybroker.cli.loopback_handler import LoopbackHandler
from keybroker.cli.upstream import Upstream

HOST = "127.0.0.1"
CONNECTIONS = 256
"""Connections at a time, at most; each has a thread."""
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Loopback:
    """A running proxy. key: what callers must send."""

    port: int
    key: str = field(repr=False)
    upstreams: Mapping[str, Upstream]

    def base_url(self, name: str) -> str:
        """Return the base URL for one key's SDK."""
        return f"http://{HOST}:{self.port}/{name}{self.upstreams[name].tail}"


class Server(socketserver.ThreadingTCPServer):
    """Listens on loopback only, with a thread for each of at most CONNECTIONS connections."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, key: str, upstreams: Mapping[str, Upstream]) -> None:
        # SECURITY: no other machine can reach it (test_loopback.py).
        super().__init__((HOST, port), LoopbackHandler)
        self.key = key
        self.upstreams = upstreams
        self._lock = threading.Lock()
        self._open: dict[socket.socket, bool] = {}
        """Connections, the oldest first -> whether they have shown the key."""

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  as socketserver has it
        """Serve a connection in a thread; over the cap, end the oldest that has not shown the key, or refuse this one."""
        with self._lock:
            full = len(self._open) >= CONNECTIONS
            stranger = next((one for one, trusted in self._open.items() if not trusted), None) if full else None
            if stranger is not None:
                # SECURITY: a program without the key cannot keep those that have it out
                # (test_strangers_do_not_keep_callers_out).
                del self._open[stranger]
                with contextlib.suppress(OSError):  # it has ended by itself
                    stranger.shutdown(socket.SHUT_RDWR)
            if not full or stranger is not None:
                self._open[request] = False
        if full and stranger is None:
            with contextlib.suppress(OSError):  # it is gone
                request.send(_BUSY)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401  as socketserver has it
        """Close a connection, and make room for the next."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def trust(self, connection: socket.socket) -> None:
        """Note that a connection has shown the key."""
        with self._lock:
            if connection in self._open:
                self._open[connection] = True

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  as socketserver has it
        """Report a failed call without a traceback, which may show secrets; stay silent if the client left."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            output.labelled("warning", f"a call through the loopback proxy failed ({type(error).__name__})")


@contextlib.contextmanager
def serve(upstreams: Mapping[str, Upstream], port: int = 0) -> Iterator[Loopback]:
    """Serve until the end of the block. port: 0 for any free one. Raises OSError if the port is taken."""
    key = f"kb-local-{secrets.token_urlsafe(32)}"
    with Server(port, key, upstreams) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield Loopback(int(server.server_address[1]), key, upstreams)
        finally:
            server.shutdown()
            thread.join()
            for upstream in upstreams.values():
                upstream.close()
