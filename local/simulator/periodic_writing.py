"""Writes what a worker has noted every so often, off the way of every call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def write_every(seconds: float, write: Callable[[], Awaitable[None]]) -> None:
    """Write until this is cancelled, and once more then; a writing that has begun is waited for. write: raises nothing."""
    writing = asyncio.ensure_future(asyncio.sleep(0))
    try:
        while True:
            await asyncio.sleep(seconds)
            writing = asyncio.ensure_future(write())
            await asyncio.shield(writing)
    finally:
        await writing
        await write()
