"""Reads a socket until a deadline: the socket's own timeout starts anew with every byte that trickles in."""

from __future__ import annotations

import io
import socket
import time
from typing import Any


class DeadlineReader(io.RawIOBase):
    """A socket's incoming bytes, for an `io.BufferedReader`.

    deadline: in seconds of the monotonic clock, and may be moved between two reads; None leaves the socket's own timeout.
    Reads raise TimeoutError after it.
    """

    def __init__(self, sock: socket.socket, deadline: float | None) -> None:
        self.deadline = deadline
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401  any writable buffer
        """Read what there is; raises TimeoutError."""
        if self.deadline is not None:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Close the reader; the socket stays open."""
        if not self.closed:
            self._raw.close()
        super().close()
