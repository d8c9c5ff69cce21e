"""What stands in for a CI runner, a metadata server or a CI tool."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.scripted_broker import jwt

TOKEN = jwt(aud="keybroker", iss="https://issuer.example.com")


@dataclass
class Site:
    """A server that answers every GET alike, and keeps what it was asked. first: the statuses that it answers before."""

    url: str
    status: int = 200
    body: str = TOKEN
    first: Sequence[int] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)


@contextlib.contextmanager
def serving() -> Iterator[Site]:
    """Serve a site."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            one.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            number = len(one.asked) - 1
            self.send_response(one.first[number] if number < len(one.first) else one.status)
            for name, value in one.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(one.body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        one = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield one
        server.shutdown()
        thread.join(10)


def tool(folder: Path, name: str, script: str) -> dict[str, str]:
    """Write a CI's tool, which keeps its arguments in the file `arguments`; return the environment with it."""
    path = folder / name
    path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/arguments\n{script}\n')
    path.chmod(0o700)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def github(url: str, token: str = "request-token") -> dict[str, str]:  # noqa: S107  made up
    """Return the variables of a GitHub Actions job that may request identity tokens."""
    return {"GITHUB_ACTIONS": "true", "ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": token}
