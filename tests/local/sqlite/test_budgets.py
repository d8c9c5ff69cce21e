"""Budgets under many processes and threads: never exceeded, and exact once all is settled; also if a process is killed."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import threading
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pytest

from chalicelib.budget import BudgetLimit, Reservation
from chalicelib.errors import Unavailable
from chalicelib.quota import EVERYBODY, Counter
from local.sqlite import counter_rows
from local.sqlite.budgets import SqliteBudgets
from local.sqlite.state_file import StateFile
from tests.contracts.samples import NOW, SUB

SPAWN = multiprocessing.get_context("spawn")
LIMITS = (BudgetLimit("usage", 5_000, "day"), BudgetLimit("usage", 12_000, "day", shared=True))
PROCESSES, THREADS, CALLS = 3, 6, 12


def _settle(budgets: SqliteBudgets, one: Reservation, amount: int) -> None:
    while True:
        with contextlib.suppress(Unavailable):  # another writer: the edge repeats it as well
            assert budgets.settle(one, {"usage": amount})
            return


def _calls(path: Path, name: str, took: list[tuple[str, int]]) -> None:
    budgets, chance, sub = SqliteBudgets(StateFile(path, durable=False)), random.Random(name), f"{SUB}-{name[-1]}"
    for number in range(CALLS):
        worst = chance.randint(1, 900)
        one = Reservation(f"{name}-{number}", "ci", sub, NOW, {"usage": worst}, shared=True)
        with contextlib.suppress(Unavailable):
            if budgets.reserve(one, LIMITS, NOW) is None:
                taken = chance.randint(0, worst)
                _settle(budgets, one, taken)
                took.append((sub, taken))


def _race(path: Path, number: int, told: SimpleQueue[list[tuple[str, int]]]) -> None:
    took: list[tuple[str, int]] = []
    threads = [threading.Thread(target=_calls, args=(path, f"{number}{one}", took)) for one in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.put(took)


def _taken(state: StateFile, principal: str) -> int:
    counter = Counter("usage", "ci", principal, "day", NOW)
    with state.reading() as connection:
        return counter_rows.taken(connection, [counter])[counter]


@pytest.mark.slow
def test_no_race_overshoots(tmp_path: Path) -> None:
    """However many processes and threads reserve and settle at once, no limit is exceeded, and the sums are exact at the end."""
    path = tmp_path / "state.db"
    state = StateFile.create(path)
    told: SimpleQueue[list[tuple[str, int]]] = SPAWN.SimpleQueue()
    racing = [SPAWN.Process(target=_race, args=(path, number, told)) for number in range(PROCESSES)]
    for one in racing:
        one.start()
    highest: dict[str, int] = {}
    while any(one.is_alive() for one in racing):
        for principal in (EVERYBODY, *(f"{SUB}-{number}" for number in range(THREADS))):
            highest[principal] = max(highest.get(principal, 0), _taken(state, principal))
        racing[0].join(0.01)
    took = [one for _ in racing for one in told.get()]
    assert highest.pop(EVERYBODY) <= 12_000
    assert max(highest.values()) <= 5_000
    assert _taken(state, EVERYBODY) == sum(amount for _, amount in took)
    for number in range(THREADS):
        sub = f"{SUB}-{number}"
        assert _taken(state, sub) == sum(amount for whose, amount in took if whose == sub)
    assert len(took) > PROCESSES * THREADS
    with state.reading() as connection:
        assert connection.execute("SELECT count(*) FROM reservations").fetchone() == (0,)


def test_a_full_budget_is_full_for_all(tmp_path: Path) -> None:
    """Threads that reserve at once get exactly as much as there is, where all ask for the same."""
    state = StateFile.create(tmp_path / "state.db")
    got: list[str] = []

    def ask(name: str) -> None:
        budgets = SqliteBudgets(StateFile(state.path, durable=False))
        for number in range(4):
            one = Reservation(f"{name}-{number}", "ci", SUB, NOW, {"usage": 500}, shared=False)
            while True:
                with contextlib.suppress(Unavailable):
                    if budgets.reserve(one, LIMITS[:1], NOW) is None:
                        got.append(one.id)
                    break

    threads = [threading.Thread(target=ask, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), _taken(state, SUB)) == (10, 5_000)


def _reserve_and_die(path: Path) -> None:
    one = Reservation("dead", "ci", SUB, NOW, {"usage": 4_000}, shared=False)
    SqliteBudgets(StateFile(path, durable=False)).reserve(one, LIMITS[:1], NOW)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_process_frees_nothing(tmp_path: Path) -> None:
    """What a process had reserved that was killed before it settled stays counted, and is settled by nobody."""
    state = StateFile.create(tmp_path / "state.db")
    dying = SPAWN.Process(target=_reserve_and_die, args=(state.path,))
    dying.start()
    dying.join()
    assert (dying.exitcode, _taken(state, SUB)) == (-signal.SIGKILL, 4_000)
    budgets = SqliteBudgets(state)
    other = Reservation("next", "ci", SUB, NOW, {"usage": 1_001}, shared=False)
    (balance,) = budgets.reserve(other, LIMITS[:1], NOW) or ()
    assert (balance.taken, balance.held) == (4_000, 4_000)
    assert budgets.reserve(other._replace(amounts={"usage": 1_000}), LIMITS[:1], NOW) is None
