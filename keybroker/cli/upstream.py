"""Where a key's calls go on to: the edge's address, tokens for it, and connections that are kept for the next call."""

from __future__ import annotations

import contextlib
import select
import time
from collections import deque
from http.client import HTTPConnection
from urllib.parse import urlsplit

from keybroker.connection import connection_to
from keybroker.token_provider import TokenProvider

PATIENCE = 600.0
"""Seconds of the edge's longest silence: models think for minutes."""
_IDLE = 5.0
"""Seconds that an unused connection is kept: less than any server keeps it."""


class Upstream:
    """The edge, for one key. root: its address with the key's name at the end. tail: what the key's SDKs add to that."""

    def __init__(self, key: str, provider: TokenProvider) -> None:
        """Fetch the first token, whose answer names the edge; raises KeybrokerError."""
        url = provider.base_url
        before, _, tail = urlsplit(url).path.partition(f"/{key}")
        self.root = urlsplit(url)._replace(path=f"{before}/{key}").geturl()
        self.tail = tail
        self.provider = provider
        self._closed = False
        self._kept: deque[tuple[float, HTTPConnection]] = deque()

    def connect(self) -> HTTPConnection:
        """Return a connection that is not made yet; raises NotConfigured."""
        return connection_to(urlsplit(self.root), PATIENCE)

    def take(self) -> HTTPConnection | None:
        """Return a connection that was kept, None if there is none; the edge may close it in this very moment."""
        while True:
            try:
                since, connection = self._kept.pop()  # the newest; of two threads each gets another one
            except IndexError:
                return None
            if time.monotonic() - since < _IDLE and not _has_ended(connection):
                return connection
            connection.close()

    def keep(self, connection: HTTPConnection) -> None:
        """Keep a connection, whose answer was read to its end, for the next call."""
        self._kept.append((time.monotonic(), connection))
        if self._closed:
            self.close()

    def close(self) -> None:
        """Close the connections that were kept, and keep none any more."""
        self._closed = True
        while self._kept:
            with contextlib.suppress(IndexError):  # another thread was quicker
                self._kept.pop()[1].close()


def _has_ended(connection: HTTPConnection) -> bool:
    """Whether the other side has closed a connection on which nothing is waited for, or has said what nobody asked."""
    return connection.sock is None or bool(select.select([connection.sock], [], [], 0)[0])
