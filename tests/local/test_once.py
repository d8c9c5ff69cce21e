"""A value that threads share is made once, and a fault is not kept."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.errors import StateUnavailable
from local.once import Once


def test_threads_that_ask_together_get_one_value() -> None:
    together, made = threading.Barrier(4), []

    def ask(once: Once[object]) -> object:
        together.wait(5)
        return once()

    def make() -> object:
        made.append(object())
        return made[-1]

    once = Once(make)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(ask, [once] * 4)) == {made[0]}


def test_a_fault_is_not_kept() -> None:
    """A fault is raised, and the next call tries again."""
    answers = iter([StateUnavailable(), None])

    def make() -> str:
        if fault := next(answers):
            raise fault
        return "made"

    once = Once(make)
    with pytest.raises(StateUnavailable):
        once()
    assert once() == once() == "made"
