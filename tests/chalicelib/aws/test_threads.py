"""Calls side by side: their answers in order, one end for all, none made that nobody waits for, no thread too many."""

from __future__ import annotations

import threading
import time

import pytest

from chalicelib.aws.threads import RequestThreads


def _soon() -> float:
    return time.monotonic() + 30


def test_answers_come_in_the_order_of_the_calls() -> None:
    first = threading.Event()

    def slow() -> str:
        first.wait(30)
        return "slow"

    def quick() -> str:
        first.set()
        return "quick"

    assert RequestThreads(2).answers([slow, quick], _soon()) == ["slow", "quick"]


def test_no_calls_have_no_answers() -> None:
    assert RequestThreads(1).answers([], _soon()) == []


def test_a_raising_call_frees_its_thread() -> None:
    """What a call raises is raised, and its thread is free for the next."""

    def fail() -> None:
        raise LookupError("of the call")

    threads = RequestThreads(1)
    with pytest.raises(LookupError, match="of the call"):
        threads.answers([fail], _soon())
    assert threads.answers([lambda: 1], _soon()) == [1]


def test_a_wave_ends_in_time_though_its_calls_do_not() -> None:
    held = threading.Event()
    with pytest.raises(TimeoutError):
        RequestThreads(1).answers([lambda: held.wait(30)], time.monotonic() + 0.01)
    held.set()


def test_a_call_that_nobody_waits_for_any_more_is_not_made() -> None:
    threads, held, made = RequestThreads(1), threading.Event(), list[str]()
    with pytest.raises(TimeoutError):
        threads.answers([lambda: held.wait(30), lambda: made.append("given up")], time.monotonic() + 0.01)
    held.set()
    threads.answers([lambda: made.append("next")], _soon())
    assert made == ["next"]


def test_threads_are_bounded() -> None:
    """There are never more threads than allowed, and all calls are made."""
    threads, seen = RequestThreads(3), set[int]()
    assert threads.answers([lambda: seen.add(threading.get_ident())] * 50, _soon()) == [None] * 50
    assert len(seen) <= 3


def test_as_many_run_side_by_side_as_may_be() -> None:
    together = threading.Barrier(4)
    threads = RequestThreads(4)
    for _ in range(3):
        threads.answers([lambda: together.wait(30)] * 4, _soon())
