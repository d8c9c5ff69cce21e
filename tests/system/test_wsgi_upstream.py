"""An upstream of the CGI kind behind the real edge, over sockets: what its environment holds, whatever a caller sends."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from tests.edge_door import ask, door, talk
from tests.edge_function import Door, provide
from tests.parts import Parts


def echo(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Answer the method and the headers as WSGI has them: folded and joined. That is what an error page may quote."""
    start_response("200 OK", [])
    shown = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
    return [json.dumps({"method": environ["REQUEST_METHOD"], **shown}).encode()]


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as http.server has it
        """Log nothing."""


@pytest.fixture
def upstream() -> Iterator[int]:
    """The port of a WSGI server of the standard library."""
    with make_server("127.0.0.1", 0, echo, handler_class=_Silent) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize("spelling", ["X_Vendor_Key", "x-vendor_key", "X-VENDOR-KEY", "x_vendor-key"])
def test_wsgi_reads_our_key_alone(parts: Parts, upstream: int, spelling: str) -> None:
    """A WSGI upstream reads exactly our key, the request's own method and no token."""
    token = provide(parts, "generic", "POST:/items", origin=f"http://localhost:{upstream}", header="x-vendor-key")
    sent = ask(
        "POST /generic/items",
        *(f"Authorization: Bearer {token}", f"X_Api_Key: {token}", f"{spelling}: mine", "X_Forwarded_For: 10.0.0.1"),
        *("X_HTTP_Method_Override: POST", "Transfer_Encoding: chunked", "Content-Length: 0"),
    )

    async def run() -> bytes:
        async with asyncio.timeout(30), door(Door(parts).handle) as port:
            return (await talk(port, sent))[1]

    seen = json.loads(asyncio.run(run()))
    assert seen["HTTP_X_VENDOR_KEY"] == "key-of-generic"
    assert seen["method"] == "POST"
    named = {"HTTP_X_API_KEY", "HTTP_AUTHORIZATION", "HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_TRANSFER_ENCODING"}
    assert not named & seen.keys()
    assert "10.0.0.1" not in json.dumps(seen)
    assert token not in json.dumps(seen)
