"""A source of numbered tokens, with a clock that a test sets; for the tests of SharedToken."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from keybroker import Token
from keybroker.clock import Timestamp
from keybroker.errors import KeybrokerError
from keybroker.shared_token import SharedToken

PATIENCE = 30.0


class Source:
    """Fetches tokens that are numbered. waits: each fetch waits for `release`. fault: what is raised instead."""

    def __init__(self) -> None:
        self.fetched = 0
        self.done = 0
        self.now = 1000.0
        self.fault: BaseException | None = None
        self.release = threading.Event()
        self.release.set()
        self.shared = SharedToken(self.fetch, lambda: Timestamp(self.now, self.now))

    def fetch(self) -> Token:
        self.fetched += 1
        number = self.fetched
        try:
            assert self.release.wait(PATIENCE)
            if self.fault is not None:
                raise self.fault
            return Token(f"token-{number}", 900, "GET:/v1/models", "https://edge.example.com")
        finally:
            self.done += 1

    def get(self, rejected: str | None = None) -> str:
        return self.shared.get(rejected).token.access_token

    async def get_async(self) -> str:
        return (await self.shared.get_async()).token.access_token

    def quiet(self) -> bool:
        """Say whether every fetch has ended and been noted."""
        return self.done == self.fetched and self.shared._pending is None


def together(count: int, call: Callable[[], object]) -> list[object]:
    """Call from so many threads at once; return what each got, or the error."""
    barrier = threading.Barrier(count)

    def one(_: int) -> object:
        barrier.wait(PATIENCE)
        try:
            return call()
        except KeybrokerError as fault:
            return fault

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))
