"""Lets many act on one store at once, in threads and in processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

from chalicelib.errors import Refusal, Unavailable
from tests.contracts.adapters import Adapters
from tests.races.stores import Store

SPAWN = multiprocessing.get_context("spawn")
THREADS, PROCESSES = 64, 4
THREADS_OF_A_PROCESS = 4
PATIENCE = 60.0
"""Seconds that one act may take, and that a process may take to start."""
PAUSE = (0.02, 0.3)
"""Seconds before an act that a busy store did not decide is tried again, at random between these."""
Act = Callable[[Adapters], str]
"""Does one thing and says how it went. Where processes do it, it can be pickled."""


def patient(act: Act, adapters: Adapters) -> str:
    """Do it until it is decided: a busy store decides nothing. A refusal is said by its reason."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        try:
            return act(adapters)
        except Unavailable:
            time.sleep(random.uniform(*PAUSE))  # else 64 threads keep one another busy, and the machine with them
        except Refusal as refusal:
            return refusal.reason
    return "never decided"


def in_threads(store: Store, act: Act, times: int, threads: int = THREADS) -> Counter[str]:
    """Let threads act, `times` in all (at least once each), all starting at once."""
    barrier = threading.Barrier(threads)
    shares = [max(1, times // threads + (number < times % threads)) for number in range(threads)]
    with store.open() as opened:

        def run(share: int) -> list[str]:
            barrier.wait(PATIENCE)
            try:
                return [patient(act, opened.adapters) for _ in range(share)]
            finally:
                opened.leave()

        with ThreadPoolExecutor(threads) as pool:
            return Counter(said for one in pool.map(run, shares) for said in one)


def _take_orders(parent: Connection) -> None:
    while (order := parent.recv()) is not None:
        parent.send("ready")
        parent.recv()
        store, act, times = order
        parent.send(in_threads(store, act, times, THREADS_OF_A_PROCESS))


class Crew:
    """Processes of some threads each. They are started once, for that takes longer than what they do."""

    def __init__(self) -> None:
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(PROCESSES):
            ours, theirs = SPAWN.Pipe()
            process = SPAWN.Process(target=_take_orders, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def together(self, store: Store, act: Act, times: int) -> Counter[str]:
        """Let them act, `times` in all, all starting at once."""
        for pipe in self._pipes:
            pipe.send((store, act, times // PROCESSES))
        for pipe in self._pipes:
            assert pipe.poll(PATIENCE), "a process did not start"
            pipe.recv()
        for pipe in self._pipes:
            pipe.send("go")
        said: Counter[str] = Counter()
        for pipe in self._pipes:
            assert pipe.poll(PATIENCE * 2), "a process did not end"
            said += pipe.recv()
        return said

    def dismiss(self) -> None:
        """End them."""
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            with contextlib.suppress(OSError):
                pipe.send(None)
            process.join(10)
            process.kill()
            pipe.close()


Together = Callable[[Store, Act, int], Counter[str]]
"""Lets many act on a store, so many times in all."""
