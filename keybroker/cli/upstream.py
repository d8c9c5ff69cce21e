"""Where a key's calls are forwarded: the edge's address, its tokens, and connections kept for the next call."""

from __future__ import annotations

import contextlib
import select
import time
from collections import deque
from http.client import HTTPConnection
from urllib.parse import urlsplit

from keybroker.connection import connect_to
from keybroker.token_provider import TokenProvider

TIMEOUT = 600.0
"""Seconds that the edge may stay silent: models think for minutes."""
_IDLE = 5.0
"""Seconds that an unused connection is kept: less than any server keeps it."""


class Upstream:
    """The edge, for one key. key: its name. root: the edge's URL up to it. tail: the rest of the SDK's base URL."""

    def __init__(self, key: str, provider: TokenProvider) -> None:
        """Fetch the first token, whose response names the edge; raises KeybrokerError."""
        url = provider.base_url
        before, _, tail = urlsplit(url).path.partition(f"/{key}")
        self.root = urlsplit(url)._replace(path=f"{before}/{key}").geturl()
        self.key, self.tail = key, tail
        self.provider = provider
        self._closed = False
        self._kept: deque[tuple[float, HTTPConnection]] = deque()

    def connect(self) -> HTTPConnection:
        """Return a connection that is not open yet; raises NotConfigured."""
        return connect_to(urlsplit(self.root), TIMEOUT)

    def take(self) -> HTTPConnection | None:
        """Return a kept connection, None if there is none; the edge may close it at this very moment."""
        while True:
            try:
                since, connection = self._kept.pop()  # the newest; two threads never get the same one
            except IndexError:
                return None
            if time.monotonic() - since < _IDLE and not _has_ended(connection):
                return connection
            connection.close()

    def keep(self, connection: HTTPConnection) -> None:
        """Keep a connection for the next call; its response must have been read to the end."""
        self._kept.append((time.monotonic(), connection))
        if self._closed:
            self.close()

    def close(self) -> None:
        """Close the kept connections, and keep no more."""
        self._closed = True
        while self._kept:
            with contextlib.suppress(IndexError):  # another thread was faster
                self._kept.pop()[1].close()


def _has_ended(connection: HTTPConnection) -> bool:
    """Whether an idle connection was closed by the other side, or has unexpected data."""
    return connection.sock is None or bool(select.select([connection.sock], [], [], 0)[0])
