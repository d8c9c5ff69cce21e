"""A stage's edge as any caller meets it: at its URL, by a connection of its own for each call."""

from __future__ import annotations

import contextlib
import http.client
from urllib.parse import urlsplit

from chalicelib.admin.revocation_probe import ANSWER_BYTES, NAME, Seen, seen

CALL_SECONDS = 3.0
"""Seconds that a call waits for any part of its answer."""


class EdgeUrl:
    """A probe's calls. url: https, with the path that it may have."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._path = parts.netloc, f"{parts.path}/{NAME}/v1"

    def call(self, token: str, scope: str) -> Seen:
        """Make a call with a token. scope: of the revocation that is measured."""
        # SECURITY: TLS is verified as any caller's is: a stranger at this address neither gets the token nor may say that it is
        # refused (test_a_stranger_at_the_edge_is_unknown).
        with contextlib.closing(http.client.HTTPSConnection(self._host, timeout=CALL_SECONDS)) as connection:
            try:
                connection.request("GET", self._path, headers={"authorization": f"Bearer {token}"})
                answer = connection.getresponse()
                return seen(answer.status, answer.read(ANSWER_BYTES), scope)
            except (OSError, http.client.HTTPException):
                return Seen.UNKNOWN
