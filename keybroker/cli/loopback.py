"""An address on this machine that stands in for the edge: each call goes on with a token that is valid now.

A program that runs for hours gets this address and a random key, good here and nowhere else, in place of a token of
minutes.
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
from keybroker.cli.loopback_call import LoopbackCall
from keybroker.cli.upstream import Upstream

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Loopback:
    """The address. key: opens it."""

    port: int
    key: str = field(repr=False)
    upstreams: Mapping[str, Upstream]

    def base_url(self, name: str) -> str:
        """Return what an SDK takes as its base URL, for one key."""
        return f"http://{HOST}:{self.port}/{name}{self.upstreams[name].tail}"


class Server(socketserver.ThreadingTCPServer):
    """Listens on this machine only, with a thread for each connection."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, key: str, upstreams: Mapping[str, Upstream]) -> None:
        # SECURITY: no other machine reaches it (test_loopback.py).
        super().__init__((HOST, port), LoopbackCall)
        self.key = key
        self.upstreams = upstreams

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  as socketserver has it
        """Say that a call broke, without a trace, which may show what must not be shown; nothing if the client left."""
        fault = sys.exception()
        if not isinstance(fault, ConnectionError | TimeoutError):
            output.labelled("warning", f"a call through the loopback address broke off ({type(fault).__name__})")


@contextlib.contextmanager
def serve(upstreams: Mapping[str, Upstream], port: int = 0) -> Iterator[Loopback]:
    """Serve until the end of the block. port: 0 for any free one; raises OSError if it is taken."""
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
