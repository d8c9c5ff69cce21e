"""A server in front of a running administration that passes requests on, or answers them by a test's script."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Reply:
    """What is answered instead. after: seconds; passes_on: whether the administration answers then."""

    status: int = 200
    body: bytes = b"{}"
    kind: str = "application/json"
    after: float = 0.0
    passes_on: bool = False
    hangs_up: bool = False


Script: TypeAlias = Callable[[str, str], Reply | None]
"""Method and path with query; None: as the administration answers."""


def as_it_is(_method: str, _path: str) -> Reply | None:
    """Pass everything on."""
    return None


def always(reply: Reply) -> Script:
    """Answer everything alike."""
    return lambda _method, _path: reply


def json_reply(status: int, body: object) -> Reply:
    """Answer with JSON."""
    return Reply(status, json.dumps(body).encode())


@dataclass
class Front:
    """script: may be changed at any time. asked: methods and paths."""

    url: str
    script: Script = as_it_is
    asked: list[tuple[str, str]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    front: Front
    behind: str
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.front.asked.append((self.command, self.path))
        reply = self.front.script(self.command, self.path)
        if reply is None or reply.passes_on:
            time.sleep(reply.after if reply else 0)
            reply = self._passed_on(body)
        else:
            time.sleep(reply.after)
        if reply.hangs_up:
            self.close_connection = True
            return
        with contextlib.suppress(OSError):  # a console that has ended
            self.send_response(reply.status)
            self.send_header("content-type", reply.kind)
            self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

    do_POST = do_DELETE = do_PUT = do_GET  # noqa: N815  as http.server has them

    def _passed_on(self, body: bytes) -> Reply:
        connection = HTTPConnection(self.behind, timeout=20)
        try:
            # With its own Host: that was signed.
            connection.request(self.command, self.path, body or None, dict(self.headers.items()))
            answer = connection.getresponse()
            return Reply(answer.status, answer.read(), answer.headers.get("content-type", ""))
        finally:
            connection.close()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def front_of(broker: str) -> Iterator[Front]:
    """Serve one."""
    handler = type("ThisHandler", (_Handler,), {"behind": urlsplit(broker).netloc})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        front = Front(f"http://127.0.0.1:{server.server_port}")
        handler.front = front  # type: ignore[attr-defined]  # of the class made here
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield front
        finally:
            server.shutdown()
            thread.join(10)
