"""Writes of one turn of the event loop: together while many calls are under way, and in order."""

from __future__ import annotations

import asyncio

import pytest

from local.simulator.bursts import MANY, Bursts


class Transport(asyncio.WriteTransport):
    """One that remembers what was written."""

    def __init__(self, written: list[bytes]) -> None:
        super().__init__()
        self._written, self._is_closing = written, False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Remember it."""
        self._written.append(bytes(data))

    def close(self) -> None:
        """Take no more."""
        self._is_closing = True

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self._is_closing


@pytest.mark.parametrize(("under_way", "at_once"), [(0, True), (MANY - 1, True), (MANY, False)])
def test_few_calls_wait_for_nothing(under_way: int, *, at_once: bool) -> None:
    """Below so many calls each write is done at once; else at the end of the turn."""
    written: list[bytes] = []

    async def run() -> list[bytes]:
        Bursts(lambda: under_way).write(Transport(written), b"a")
        found = written.copy()
        await asyncio.sleep(0)
        return found

    assert asyncio.run(run()) == ([b"a"] if at_once else [])
    assert written == [b"a"]


def test_what_waits_is_written_in_order() -> None:
    """Once something waits everything does, so that nothing overtakes it."""
    written: list[bytes] = []
    many = [MANY]

    async def run() -> None:
        bursts, transport = Bursts(lambda: many[0]), Transport(written)
        bursts.write(transport, b"a")
        many[0] = 0
        bursts.write(transport, b"b")
        assert written == []
        bursts.flush()
        assert written == [b"a", b"b"]
        bursts.write(transport, b"c")
        await asyncio.sleep(0)

    asyncio.run(run())
    assert written == [b"a", b"b", b"c"]


def test_nothing_is_written_to_what_is_closed() -> None:
    """A transport that was closed meanwhile gets nothing, and the others theirs."""
    written: list[bytes] = []

    async def run() -> None:
        bursts, closed = Bursts(lambda: MANY), Transport(written)
        bursts.write(closed, b"a")
        bursts.write(Transport(written), b"b")
        closed.close()
        await asyncio.sleep(0)

    asyncio.run(run())
    assert written == [b"b"]
