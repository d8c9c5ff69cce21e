"""A loopback proxy for the edge: each call is forwarded with a token that is valid at that moment.

A program that runs for hours gets the proxy's address and a random key, valid only there, instead of a token that lives
for minutes.
"""

from __future__ import annotations

import contextlib
import secrets
import socketserver
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from keybroker.cli import output
from keybroker.cli.loopback_handler import LoopbackHandler
from keybroker.cli.upstream import Upstream

HOST = "127.0.0.1"


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
    """Listens on loopback only, with a thread for each connection."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, key: str, upstreams: Mapping[str, Upstream]) -> None:
        # SECURITY: no other machine can reach it (test_loopback.py).
        super().__init__((HOST, port), LoopbackHandler)
        self.key = key
        self.upstreams = upstreams

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
