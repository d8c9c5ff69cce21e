"""An issuer's web site on this machine, for tests: what it answers is set per path, and it keeps what it was asked."""

from __future__ import annotations

import contextlib
import functools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from chalicelib.issuers.presets import GENERIC
from chalicelib.issuers.registry import Issuer

DISCOVERY = "/.well-known/openid-configuration"

Answer = Callable[["Handler"], None]


class Site:
    """An issuer's web server. answers: by path. asked: every path that was asked for, in order."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.asked: list[str] = []
        self.accepted: list[str | None] = []
        self.closing = threading.Event()
        self.answers: dict[str, Answer] = {}
        self.publish(jwk("a"))

    def publish(self, *keys: Mapping[str, object]) -> None:
        """Serve a discovery document and these keys."""
        self.answers[DISCOVERY] = document({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})
        self.answers["/keys"] = document({"keys": list(keys)})

    def issuer(self, url: str = "", algorithms: tuple[str, ...] = ("ES256",)) -> Issuer:
        """Return the issuer that this is."""
        return oidc_issuer(url or self.url, algorithms)


def oidc_issuer(url: str, algorithms: tuple[str, ...] = ("ES256",)) -> Issuer:
    """Return an issuer without a preset, as the policy would register it."""
    return Issuer(
        name="site",
        url=url,
        preset="",
        audience="keybroker",
        algorithms=algorithms,
        max_lifetime=3600,
        single_use=False,
        identity=GENERIC.identity,
        label=GENERIC.label,
        required=(),
        refused=(),
    )


class Handler(BaseHTTPRequestHandler):
    """Answers as the site says."""

    site: Site

    def do_GET(self) -> None:
        self.site.asked.append(self.path)
        self.site.accepted.append(self.headers["accept-encoding"])
        with contextlib.suppress(OSError):  # the other side cut it
            self.site.answers.get(self.path, status(404))(self)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as http.server has it
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Takes two hundred connections at once."""

    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        """Say nothing: half the tests cut the connection."""


@contextlib.contextmanager
def serving() -> Iterator[Site]:
    """Run a site; it publishes one key, `a`, until it is told otherwise."""

    class SiteHandler(Handler):
        pass

    with Server(("127.0.0.1", 0), SiteHandler) as server:
        SiteHandler.site = Site(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield SiteHandler.site
        finally:
            SiteHandler.site.closing.set()
            server.shutdown()
            thread.join()


@functools.cache
def jwk(kid: str, curve: str = "P-256", owner: str = "") -> dict[str, object]:
    """Make a public key. owner: another one makes another key of the same kid."""
    del owner
    key = ec.generate_private_key({"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}[curve])
    return {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}


def sending(*parts: bytes) -> Answer:
    """Send exactly these bytes, and hang up."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(b"".join(parts))

    return answer


def raw(body: bytes, code: int = 200, **headers: str) -> Answer:
    """Answer with this body; an underscore in a header's name is a hyphen."""
    fields = {"content_type": "application/json", "content_length": str(len(body)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return sending(f"HTTP/1.1 {code} Description\r\n{head}\r\n".encode(), body)


def document(content: object) -> Answer:
    """Answer with JSON."""
    return raw(json.dumps(content).encode())


def status(code: int, **headers: str) -> Answer:
    """Answer with this status and what would otherwise do as a key set."""
    return raw(b'{"keys": []}', code, **headers)


def dripping(start: bytes, byte: bytes) -> Answer:
    """Send `start` at once and then one byte every 20 ms for as long as the connection lasts."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(start)
        while not handler.site.closing.wait(0.02):
            handler.wfile.write(byte)

    return answer


def silent(handler: Handler) -> None:
    """Take the request and say nothing."""
    handler.site.closing.wait()


HEADERS = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
SLOW: Mapping[str, Answer] = {
    "silent": silent,
    "status line drips": dripping(b"HTTP/1.1 200 ", b"O"),
    "headers drip": dripping(HEADERS + b"x-slow: ", b"x"),
    "body drips": dripping(HEADERS + b"content-length: 90000\r\n\r\n", b" "),
    "body without an end drips": dripping(HEADERS + b"connection: close\r\n\r\n", b" "),
    "chunks drip": dripping(HEADERS + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}


def fetches_end() -> bool:
    """Whether every fetch that was given up ends within two seconds."""
    ends = time.monotonic() + 2
    while any(thread.name == "keybroker-get" for thread in threading.enumerate()):
        if time.monotonic() > ends:
            return False
        time.sleep(0.01)
    return True
