"""Looks up where a host is, without blocking: the system's own look-up knows no bound, so it runs on a thread."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any

from chalicelib.aws import idle

FRESH_SECONDS = 30.0
"""An address is looked up again after so long, or as soon as it has not answered."""

Address = tuple[Any, ...]
"""One of `socket.getaddrinfo`'s."""
LookUp = Callable[[str, int], Sequence[Address]]


def system_look_up(host: str, port: int) -> Sequence[Address]:
    """Ask the system; raises OSError."""
    # As bytes, here and for TLS: a text is taken for an internationalised name, whose codec takes a cold start 2 ms.
    return socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM)


class Names:
    """The addresses of hosts. Those that were found are kept; any thread may use it."""

    def __init__(self, look_up: LookUp = system_look_up) -> None:
        self._look_up, self._lock = look_up, threading.Lock()
        self._known: dict[tuple[str, int], tuple[Sequence[Address], idle.Moment]] = {}
        self._under_way: dict[tuple[str, int], _Search] = {}

    def addresses(self, host: str, port: int) -> Generator[tuple[int, int], None, Sequence[Address]]:
        """Wait for a host's addresses, as `connection.Waiting`; raises OSError. One look-up serves all that wait for it."""
        numeric = _numeric(host, port)
        if numeric:
            return numeric
        known = self._known.get((host, port))
        if known and not idle.is_too_long(known[1], idle.now(), FRESH_SECONDS):
            return known[0]
        with self._lock:
            search = self._under_way.get((host, port)) or self._begun(host, port)
        yield from search.wait()
        if search.found:
            return search.found
        if known:
            return known[0]  # an old address is better than none: a stranger's would fail in TLS
        raise search.fault

    def doubt(self, host: str, port: int) -> None:
        """Look a host up again before it is next connected to: what was found has not answered."""
        found, _ = self._known.get((host, port), ((), None))
        if found:
            self._known[host, port] = found, (0.0, 0.0)

    def _begun(self, host: str, port: int) -> _Search:
        search = _Search(host)

        def run() -> None:
            try:
                search.found = self._look_up(host, port)
            except Exception as fault:  # noqa: BLE001  who waits raises it; else they would wait for ever
                search.fault = OSError(*fault.args[:2])
            with self._lock:
                del self._under_way[host, port]
                if search.found:
                    self._known[host, port] = search.found, idle.now()
            search.end()

        threading.Thread(target=run, daemon=True).start()
        self._under_way[host, port] = search  # it ends no sooner, for the lock is held
        return search


class _Search:
    """One look-up under way, on a thread of its own, which ends when the system gives up."""

    def __init__(self, host: str) -> None:
        self.found: Sequence[Address] = ()
        self.fault = OSError(host)
        self._lock, self._is_over = threading.Lock(), False
        self._bells: set[socket.socket] = set()

    def wait(self) -> Generator[tuple[int, int], None, None]:
        """Wait for its end."""
        ours, bell = socket.socketpair()
        try:
            with self._lock:
                self._bells.add(bell)
            while not self._is_over:
                yield ours.fileno(), select.POLLIN
        finally:
            with self._lock:
                self._bells.discard(bell)
            ours.close()
            bell.close()

    def end(self) -> None:
        """Wake all that wait."""
        with self._lock:
            self._is_over = True
            for bell in self._bells:
                bell.send(b"!")


def _numeric(host: str, port: int) -> Sequence[Address]:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return [(family, socket.SOCK_STREAM, 0, "", (host, port))]
    return []
