"""Another site, or another program's page on this machine, that someone has open beside the console."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class OtherSite:
    """port: at 127.0.0.1. cookies: that browsers sent for its page."""

    port: int
    cookies: list[str] = field(default_factory=list, repr=False)


class _Handler(BaseHTTPRequestHandler):
    site: OtherSite

    def do_GET(self) -> None:
        if self.path == "/":  # not for its icon
            self.site.cookies.append(self.headers.get("cookie", ""))
        body = b"<!doctype html><title>another site</title><body>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def other_site() -> Iterator[OtherSite]:
    """Serve an empty page, to be filled by a test."""
    handler = type("ThisHandler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        site = OtherSite(server.server_port)
        handler.site = site  # type: ignore[attr-defined]  # of the class made here
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join(10)
