"""One small request over HTTP, in bounded time and space whatever the other side does."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Mapping
from http.client import HTTPException
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from chalicelib import strict_json
from chalicelib.issuers.errors import FetchError

DOCUMENT_LIMIT = 100 * 1024
_HEADERS: Mapping[str, str] = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "keybroker"}


def get_json(url: str, within: float) -> object:
    """Get a JSON document of at most DOCUMENT_LIMIT bytes within so many seconds, or raise FetchError.

    Redirects are not followed and compression is not undone. The time counts from the look-up of the name to the last
    byte. Reasons: too_slow, too_large, status_<code> (other than 200), unreachable, unreachable_certificate (it is of no
    known authority, or of another name), malformed (no strict JSON).
    """
    try:
        status, body = send("GET", url, _HEADERS, within)
        if status != 200:
            raise FetchError(f"status_{status}")
        return strict_json.parse(body)
    except ValueError:  # of the URL; or JsonError
        raise FetchError("malformed") from None


def send(method: str, url: str, headers: Mapping[str, str], within: float, body: bytes = b"") -> tuple[int, bytes]:
    """Make one request within so many seconds; return status and body, which is empty unless the status is 2xx.

    Otherwise as `get_json`. Raises FetchError, and ValueError for a URL that is none.
    """
    request = _made(_Request(method, url, headers, body, within), within)
    return request.status, request.answer


def ask(
    method: str, url: str, headers: Mapping[str, str], body: bytes, within: float
) -> tuple[int, Mapping[str, str], bytes]:
    """Make one request, as `send`; return status, headers by lower-case name, and the body, whatever the status is."""
    request = _made(_Request(method, url, headers, body, within, always=True), within)
    return request.status, request.received, request.answer


def _made(request: _Request, within: float) -> _Request:
    """Return a request once it was answered; raises FetchError."""
    if within <= 0:
        raise FetchError("too_slow")
    request.start()
    request.join(within)
    if request.is_alive():
        request.connection.cut()
        raise FetchError("too_slow")
    if request.fault:
        raise FetchError(request.fault)
    return request


class _Request(threading.Thread):
    """One request on a thread of its own: a time-out of a socket bounds neither a name's look-up nor a header that drips."""

    def __init__(  # noqa: PLR0913  a request's parts
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeout: float, *, always: bool = False
    ) -> None:
        """always: whether the body is read whatever the status is."""
        super().__init__(name="keybroker-request", daemon=True)
        parts = urlsplit(url)
        kind = _Tls if parts.scheme == "https" else _Plain
        # A second more, so that it is the caller who gives up, with one and the same reason.
        self.connection = kind(parts.hostname or "", parts.port, timeout=timeout + 1)
        self.target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._method, self._headers, self._body = method, headers, body
        self.status, self.answer, self._always = 0, b"", always
        self.received: Mapping[str, str] = {}
        self.fault = "unreachable"

    def run(self) -> None:
        """Fill `status` and `answer`, and empty `fault` if all went well."""
        options = {"preload_content": False, "decode_content": False}
        try:
            self.connection.request(
                self._method, self.target, self._body or None, headers=dict(self._headers), **options
            )
            with contextlib.closing(self.connection.getresponse()) as response:
                self.status = response.status
                self.received = {name.lower(): value for name, value in response.headers.items()}
                is_done = not (200 <= self.status < 300 or self._always)
                while not is_done and len(self.answer) <= DOCUMENT_LIMIT:
                    part = response.read(DOCUMENT_LIMIT + 1)
                    self.answer += part
                    is_done = not part
            self.fault = "too_large" if len(self.answer) > DOCUMENT_LIMIT else ""
        except ssl.SSLCertVerificationError:
            self.fault = "unreachable_certificate"
        except (HTTPError, HTTPException, OSError, ValueError):
            pass  # `fault` says so already
        finally:
            self.connection.end()


class _Plain(HTTPConnection):
    """A connection that another thread can cut, whatever it is doing: while it connects, and in a TLS handshake too."""

    _handle: socket.socket | None = None
    _was_cut = False

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        self._handle = made.dup()  # TLS takes `made` over, and an answer with `Connection: close` closes it early
        if self._was_cut:
            self.cut()
        return made

    def cut(self) -> None:
        """Make any read or write here fail at once, now or once it is connected."""
        self._was_cut = True
        if self._handle:
            with contextlib.suppress(OSError):  # it has ended by itself
                self._handle.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Close it for good."""
        self.close()
        if self._handle:
            self._handle.close()


class _Tls(_Plain, HTTPSConnection):
    """The same with TLS: the system's certificate authorities, and the name checked, as urllib3 does by default."""
