"""The page's server: loopback alone, one session, every answer with the same strict headers."""

from __future__ import annotations

import contextlib
import functools
import gzip
import logging
import mimetypes
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import BoundedSemaphore, Thread
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from keybroker.console import guard
from keybroker.console.session import Session

STATIC: Final = Path(__file__).parent / "static"
_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": _CSP,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with no-referrer, a form of ours is sent with `Origin: null`
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_COOKIE: Final = "Path=/; HttpOnly; SameSite=Strict"
_SILENCE_SECONDS: Final = 15
_THREADS: Final = 32
_SKIPPED_BYTES: Final = 16 * 1024 * 1024
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """A request that the guard and the session have let in."""

    method: str
    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def is_part(self) -> bool:
        """Whether a part of a page is asked for, to be put into one that is shown."""
        return self.headers.get("hx-request") == "true"


@dataclass(frozen=True, slots=True)
class Page:
    """What is answered. location: where to go instead."""

    body: str | bytes = ""
    status: int = HTTPStatus.OK
    location: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "text/html; charset=utf-8"


Answer = Callable[[Request], Page]


class ConsoleServer(ThreadingHTTPServer):
    """Serves one session's pages at 127.0.0.1."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, answer: Answer, bare: Callable[[str, int], Page]) -> None:
        """answer: makes a page for a request that was let in. bare: makes one for a request that was not, by its name."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.session = Session(time.monotonic())
        self.answer = answer
        self.bare = bare
        self.threads = BoundedSemaphore(_THREADS)

    @property
    def port(self) -> int:
        """The port that it has."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """The address of its first page."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def cookie_name(self) -> str:
        """The session's cookie; cookies know no ports, so another program's here would have the same name without it."""
        return f"keybroker-console-{self.port}"

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  as socketserver has it
        """Answer in a thread of its own; a request that comes while all are busy is hung up on."""
        if not self.threads.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  as above
        """Answer, and let the next one in."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.threads.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  as above
        """Say nothing: a browser that hangs up is none of anybody's business."""

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Serve meanwhile."""
        thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, name="console", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: ConsoleServer
    protocol_version = "HTTP/1.1"
    timeout = _SILENCE_SECONDS
    server_version, sys_version = "keybroker", ""

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer()

    do_POST = do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET  # noqa: N815  as http.server has them

    def log_message(self, *_: object) -> None:
        """Log nothing: addresses name principals."""

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        is_malformed = len(headers) != len(self.headers.keys())
        try:
            target = urlsplit(self.path)
            with_query = dict(parse_qsl(target.query, keep_blank_values=True, max_num_fields=50))
        except ValueError:
            is_malformed, target, with_query = True, urlsplit("/"), {}
        refused = (
            HTTPStatus.BAD_REQUEST
            if is_malformed
            else guard.refusal(self.command, target.path, headers, self.server.port)
        )
        if refused:
            self.close_connection = True
            is_large = refused == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            if is_large:
                self._skip(int(headers["content-length"]))
            self._send(self.server.bare("large", refused) if is_large else Page("", refused))
            return
        body = self.rfile.read(int(headers["content-length"])) if self.command == "POST" else b""
        try:
            form = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=50))
        except ValueError:
            self._send(Page("", HTTPStatus.BAD_REQUEST))
            return
        self._send(self._page(Request(self.command, target.path, with_query, form, headers)))

    def _skip(self, length: int) -> None:
        """Read what is not wanted, as far as a browser might send it: it reads no answer before it has sent all."""
        left = min(length, _SKIPPED_BYTES)
        while left > 0 and (found := self.rfile.read(min(left, 64 * 1024))):
            left -= len(found)

    def _page(self, request: Request) -> Page:
        now = time.monotonic()
        if request.path == "/enter":
            return self._enter(request, now)
        if request.path.startswith("/static/"):
            return _static(request.path.removeprefix("/static/"), request.headers.get("accept-encoding", ""))
        why = self._not_let_in(request, now)
        if why:
            return self.server.bare(why, HTTPStatus.FORBIDDEN)
        try:
            answer = self.server.answer(request)
        except Exception as fault:  # noqa: BLE001  one page's fault ends neither the others nor the server
            _LOG.error("the page %s failed: %s", request.path, type(fault).__name__)
            answer = self.server.bare("failed", HTTPStatus.INTERNAL_SERVER_ERROR)
        return self._changing(answer) if request.method == "POST" else answer

    def _changing(self, page: Page) -> Page:
        # SECURITY: Chromium keeps pages for "back" in spite of no-store, until a cookie that scripts cannot read changes.
        # So after a revocation none from before it comes back (test_back_asks_anew).
        changed = f"{self.server.cookie_name}-changed={secrets.token_urlsafe(8)}; {_COOKIE}"
        return replace(page, headers={**page.headers, "Set-Cookie": changed})

    def _not_let_in(self, request: Request, now: float) -> str:
        """Return which bare page a request gets instead of its own, "" if it gets that."""
        session = self.server.session
        acts = not request.is_part or request.method == "POST"
        if not session.admits(self._cookie(request), now, acts=acts):
            # SECURITY: on a link from elsewhere the browser keeps the cookie back, so nothing is shown but a link
            # (test_a_link_from_elsewhere_shows_nothing).
            is_visitor = session.is_entered and guard.comes_from_elsewhere(request.headers)
            return "ended" if session.ended(now) else "elsewhere" if is_visitor else "closed"
        is_forged = request.method == "POST" and not session.is_own(request.form.get("csrf", ""))
        return "forged" if is_forged else ""

    def _enter(self, request: Request, now: float) -> Page:
        session = self.server.session
        if not session.enter(request.query.get("secret", ""), now):
            return self.server.bare("closed", HTTPStatus.FORBIDDEN)
        cookie = f"{self.server.cookie_name}={session.cookie}; {_COOKIE}"
        entered = self.server.bare("entered", HTTPStatus.OK)
        return Page(entered.body, entered.status, headers={"Set-Cookie": cookie})

    def _cookie(self, request: Request) -> str:
        try:
            found = SimpleCookie(request.headers.get("cookie", "")).get(self.server.cookie_name)
        except CookieError:
            return ""
        return found.value if found else ""

    def _send(self, page: Page) -> None:
        body = page.body.encode() if isinstance(page.body, str) else page.body
        self.send_response(page.status)
        location = {"Location": page.location} if page.location else {}
        for name, value in {"Content-Type": page.kind, **HEADERS, **location, **page.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _static(name: str, accepted: str) -> Page:
    # SECURITY: one of the files that are there, by its whole name (test_static_files_are_those_that_are_shipped).
    path = STATIC / name
    if "/" in name or name not in {one.name for one in STATIC.iterdir()}:
        return Page("", HTTPStatus.NOT_FOUND)
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    headers = {"Cache-Control": "private, max-age=86400", "Vary": "Accept-Encoding"}
    if "gzip" in accepted:  # files alone: they hold no secret, and nothing that a request said
        return Page(_compressed(name), kind=kind, headers={**headers, "Content-Encoding": "gzip"})
    return Page(path.read_bytes(), kind=kind, headers=headers)


@functools.cache
def _compressed(name: str) -> bytes:
    return gzip.compress((STATIC / name).read_bytes(), mtime=0)
