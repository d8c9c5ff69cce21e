"""Serves a part at a listening socket, and lets in who has connected when it stops."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack

from aiohttp import web

from local.simulator.connections import Connection
from local.simulator.handshakes import Handshakes
from local.tls import Listener

BACKLOG = 1024
"""Connections that may wait to be accepted."""
LET_IN = 2.0
"""Seconds that a connection has to send its first request when a process stops."""
_ACCEPTING = 3
"""Passes of asyncio's loop in which a connection that it has accepted comes to stand."""
_LOOK = 0.02
"""Seconds between two looks at them."""
IN_USE = 0.3
"""Seconds for which a connection that was used just now may be used once more, and is told to end."""


async def mount(
    stack: AsyncExitStack,
    runner: web.BaseRunner,
    listening: socket.socket,
    at_once: int = BACKLOG,
    listener: Listener | None = None,
) -> None:
    """Serve a part at a listening socket, and accept so many connections at once. listener: its TLS, on the network.

    Each of several workers that share a socket accepts one, or two from Python 3.14 on; otherwise one of them accepts all
    that arrive together while the others are idle (test_workers_share_connections).
    """
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    if (door := runner.server) is None:
        raise RuntimeError("a runner that is set up has a server")
    context = listener.context if listener and listening.family != socket.AF_UNIX else None
    handshakes = Handshakes(door, context) if context else None
    # asyncio's backlog is both how many connections may wait and how many a process accepts at once.
    accepts = door if handshakes is None else handshakes
    accepting = await asyncio.get_running_loop().create_server(accepts, sock=listening, backlog=at_once)
    stack.push_async_callback(_let_in, door, handshakes, accepting, listening)
    listening.listen(BACKLOG)


async def _let_in(
    door: web.Server, handshakes: Handshakes | None, accepting: asyncio.Server, listening: socket.socket
) -> None:
    """Accept no more, read the first request of who has connected already, and tell the others to end with their next one.

    What follows closes all that have none.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + LET_IN
    loop.remove_reader(listening)
    for _ in range(_ACCEPTING):
        await asyncio.sleep(0)
    accepting.close()
    while loop.time() < ends:
        there = [one for one in door.connections if isinstance(one, Connection)]
        for one in there:
            one.is_ending = True
        if not (_shake_hands(handshakes) or any(one.is_new or one.was_used_within(IN_USE) for one in there)):
            break
        await asyncio.sleep(_LOOK)
    if handshakes is not None:
        await handshakes.close()


def _shake_hands(handshakes: Handshakes | None) -> bool:
    return handshakes is not None and handshakes.are_under_way
