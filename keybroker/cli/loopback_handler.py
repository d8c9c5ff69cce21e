"""One call through the loopback proxy: replaces the local key with a token, and streams both bodies."""

from __future__ import annotations

import contextlib
import hmac
import io
import json
import re
import time
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote_plus, urlsplit

from keybroker.cli import request_body
from keybroker.cli.request_body import Body, MalformedBodyError
from keybroker.cli.upstream import TIMEOUT, Upstream
from keybroker.deadline_reader import DeadlineReader
from keybroker.errors import KeybrokerError, Refused
from keybroker.httpx_auth import KEY_HEADERS

if TYPE_CHECKING:
    from keybroker.cli.loopback import Server

HEAD = 30.0
"""Seconds in which a connection's first or next request head must be complete; an idle connection is closed after them."""
_CHUNK = 64 * 1024
_SAFE = ("GET", "HEAD", "OPTIONS")
# RFC 9110 section 7.6.1, and the headers that are set anew for each connection.
_HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    *("host", "expect", "content-length"),
}
_ADDRESSES = ("link", "location", "content-location")
_AUTHORITY = re.compile(r"[A-Za-z0-9._-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")
_FOLDED = str.maketrans(dict.fromkeys("!#$%&'*+.^_`|~", "-"))


class LoopbackHandler(BaseHTTPRequestHandler):
    """Forwards a connection's calls, one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = TIMEOUT

    def setup(self) -> None:
        """Read the connection by way of a deadline."""
        super().setup()
        self.rfile.close()
        self._incoming = DeadlineReader(self.connection, None)
        self.rfile = io.BufferedReader(self._incoming)

    def handle_one_request(self) -> None:
        """Read one request head within HEAD seconds, and forward the call; a head that is late closes the connection."""
        # SECURITY: a program without the key must not hold a thread by sending a byte now and then (test_a_slow_head_is_given_up).
        self._incoming.deadline = time.monotonic() + HEAD
        super().handle_one_request()

    def _forward(self) -> None:
        self._incoming.deadline = None
        self.connection.settimeout(TIMEOUT)
        name, _, rest = self.path.removeprefix("/").partition("/")
        upstream = self._server.upstreams.get(name.partition("?")[0])
        # SECURITY: other users' programs on this machine can reach the proxy, too (tests/keybroker/cli/test_loopback.py).
        if not self._has_key():
            return self._refuse(
                401,
                "invalid_token",
                "this loopback proxy requires the key that keybroker set together with its address",
            )
        self._server.trust(self.connection)
        if upstream is None or not self.path.startswith("/"):
            known = ", ".join(f"/{name}/…" for name in self._server.upstreams)
            return self._refuse(404, "not_found", f"no such path; this proxy serves {known}")
        try:
            body = request_body.read(self.headers, self.rfile)
            connection, response = self._exchange(upstream, rest, body)
        except MalformedBodyError as error:
            return self._refuse(400, "invalid_request", str(error))
        except KeybrokerError as error:
            return self._refuse(error.status if isinstance(error, Refused) else 502, "no_token", str(error))
        except (OSError, HTTPException) as error:
            text = f"cannot reach the edge: {str(error) or type(error).__name__}"
            return self._refuse(502, "unreachable", text)
        return self._finish(upstream, connection, response)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _forward  # noqa: N815  as http.server has it

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as http.server has it
        """Log nothing: a path may contain the key."""

    @property
    def _server(self) -> Server:
        return cast("Server", self.server)

    def _has_key(self) -> bool:
        candidates = [value for name, value in self.headers.items() if _canonical(name) in KEY_HEADERS]
        candidates += [value for name, value in map(_decoded, _query(self.path)) if name == "key"]
        key = self._server.key.encode()
        return any(hmac.compare_digest(_credential(text).encode(), key) for text in candidates)

    def _exchange(self, upstream: Upstream, rest: str, body: Body) -> tuple[HTTPConnection, HTTPResponse]:
        """Return the edge's response; after a 401, which means that a fresh token could help, retry once."""
        token = upstream.provider()
        connection, response = self._send_reusing(upstream, rest, body, token)
        if response.status == 401 and body.repeats:
            with contextlib.suppress(KeybrokerError):
                fresh = upstream.provider.another(token)
                if fresh != token:
                    connection.close()
                    return self._send_reusing(upstream, rest, body, fresh)
        return connection, response

    def _send_reusing(
        self, upstream: Upstream, rest: str, body: Body, token: str
    ) -> tuple[HTTPConnection, HTTPResponse]:
        kept = upstream.take() if body.repeats else None
        if kept is not None:
            try:
                return kept, self._send(kept, upstream, rest, body, token)
            except ConnectionError:
                # The edge closed it at the same moment. It may have taken the call, so unsafe methods are not sent
                # again (test_a_call_that_may_have_been_taken_is_not_sent_twice).
                if self.command not in _SAFE:
                    raise
        connection = upstream.connect()
        return connection, self._send(connection, upstream, rest, body, token)

    def _send(self, connection: HTTPConnection, upstream: Upstream, rest: str, body: Body, token: str) -> HTTPResponse:
        try:
            target = f"{urlsplit(upstream.root).path}/{_without_key(rest, self._server.key)}"
            connection.putrequest(self.command, target, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if _canonical(name) not in (*_HOP_BY_HOP, *KEY_HEADERS):
                    connection.putheader(name, value)
            connection.putheader("authorization", f"Bearer {token}")
            if body.length is None:
                connection.putheader("transfer-encoding", "chunked")
            elif body.length >= 0:
                connection.putheader("content-length", str(body.length))
            connection.endheaders(iter(body.parts), encode_chunked=body.length is None)
            return connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def _finish(self, upstream: Upstream, connection: HTTPConnection, response: HTTPResponse) -> None:
        try:
            self._relay(upstream, response)
        except BaseException:
            connection.close()
            raise
        response.close()  # it was read to its end; the connection can be reused only after this
        if response.will_close:
            connection.close()
        else:
            upstream.keep(connection)

    def _here(self, upstream: Upstream, value: str) -> str:
        """Return a header with the edge's addresses of this key at the proxy instead, so that paging stays on it."""
        host = self.headers.get("host", "")
        if not _AUTHORITY.fullmatch(host):  # HTTP/1.0 needs none
            host = f"127.0.0.1:{self.connection.getsockname()[1]}"
        here = f"http://{host}/{upstream.key}"
        return re.sub(rf"(?<![^<]){re.escape(upstream.root)}(?=[/?#>]|\Z)", lambda _: here, value)

    def _relay(self, upstream: Upstream, response: HTTPResponse) -> None:
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, self._here(upstream, value) if name.lower() in _ADDRESSES else value)
        bare = self.command == "HEAD" or response.status in (204, 304)
        length = response.headers.get("content-length")
        chunked = length is None and not bare and self.request_version != "HTTP/1.0"
        if length is not None:
            self.send_header("content-length", length)
        elif chunked:
            self.send_header("transfer-encoding", "chunked")
        elif not bare:
            self.close_connection = True
        self.end_headers()
        # If the edge stops early, this raises: the connection closes without a last chunk, and the client notices.
        while chunk := response.read1(_CHUNK):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk) if chunked else chunk)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _refuse(self, status: int, code: str, text: str) -> None:
        """Answer with an error body whose text every SDK shows."""
        kind = "authentication_error" if status == 401 else "api_error"
        error = {"message": text, "type": kind, "param": None, "code": code}
        body = json.dumps({"type": "error", "error": error}).encode()
        self.send_response_only(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("x-should-retry", "false")
        # The request's body may be unread, so the start of a next request could not be found.
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)


def _canonical(name: str) -> str:
    """Return a header's name as the edge compares it: many servers take `_` and the like for `-`."""
    # SECURITY: a local key under another spelling would reach the edge beside the token (test_key_in_every_spelling).
    return name.lower().translate(_FOLDED)


def _query(target: str) -> list[str]:
    """Return a target's `name=value` pairs as they were sent."""
    return target.partition("?")[2].split("&")


def _decoded(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    return unquote_plus(name), unquote_plus(value)


def _credential(text: str) -> str:
    """Return a credential without the scheme before it, if any."""
    return text.rpartition(" ")[2]


def _is_key(name: str, value: str, key: str) -> bool:
    return name == "key" and _credential(value) == key


def _without_key(target: str, key: str) -> str:
    """Return a target without our `key=…`, however it is spelt, and otherwise as it was sent."""
    # SECURITY: by the same reading as `_has_key`, so that what is accepted as our key is never forwarded
    # (test_the_key_is_removed_from_the_query).
    path, mark, _ = target.partition("?")
    kept = [pair for pair in _query(target) if not _is_key(*_decoded(pair), key)]
    return f"{path}{mark if any(kept) else ''}{'&'.join(kept)}"
