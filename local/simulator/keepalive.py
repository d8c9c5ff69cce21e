"""Probes on connections that are silent: nothing on the way forgets them, and one whose peer is gone ends."""

from __future__ import annotations

import contextlib
import socket
from typing import Final

IDLE, EVERY, TIMES = 60, 15, 4
"""Seconds of silence before the first probe, and between two; unanswered ones after which the connection ends.

AWS's NAT gateways forget a connection after 350 seconds of silence, and load balancers often after 60.
"""
_OPTIONS: Final = (("TCP_KEEPIDLE", IDLE), ("TCP_KEEPALIVE", IDLE), ("TCP_KEEPINTVL", EVERY), ("TCP_KEEPCNT", TIMES))
"""By their names in the socket module; macOS has the second in place of the first."""


def probe(one: socket.socket) -> None:
    """Have the system probe a connection."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS:
        if (option := getattr(socket, name, None)) is not None:
            with contextlib.suppress(OSError):  # a system may know an option and not let it be set
                one.setsockopt(socket.IPPROTO_TCP, option, value)
