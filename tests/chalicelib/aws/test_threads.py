"""Calls side by side: their answers in order, one end for all, none made that nobody waits for, no thread too many."""

from __future__ import annotations

import functools
import threading
import time

import pytest

from chalicelib.aws.threads import RequestThreads, _Batch


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


def test_a_failed_round_trip_is_taken_back() -> None:
    """If one call fails, those that were answered are undone, the slow ones too, and what failed is not."""
    threads, undone, failed = RequestThreads(3), list[int](), threading.Event()

    def fail() -> None:
        failed.set()
        raise LookupError("of the call")

    calls = [lambda: 0, fail, lambda: failed.wait(30)]
    with pytest.raises(LookupError, match="of the call"):
        threads.answers(calls, _soon(), {index: functools.partial(undone.append, index) for index in range(3)})
    assert sorted(undone) == [0, 2]


def test_whole_round_trip_stays() -> None:
    """What succeeds as a whole is not undone."""
    threads, undone = RequestThreads(2), list[int]()
    assert threads.answers([lambda: 1, lambda: 2], _soon(), {0: lambda: undone.append(0)}) == [1, 2]
    assert undone == []


def test_an_answer_too_late_is_undone() -> None:
    """A call that is answered when its round trip is over is undone by its own thread."""
    threads, began, held, undone = RequestThreads(1), threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        began.set()
        held.wait(30)

    while not began.is_set():  # a busy machine may not have begun by then
        with pytest.raises(TimeoutError):
            threads.answers([slow], time.monotonic() + 0.01, {0: undone.set})
    assert not undone.is_set()
    held.set()
    assert undone.wait(30)


def test_nothing_is_undone_twice() -> None:
    """Of two threads that find a call answered and its round trip over, one undoes it."""
    undone: list[str] = []
    batch = _Batch(1, {0: lambda: undone.append("once")})
    batch.over = True
    batch.make(0, lambda: "an answer")  # by the thread that made the call
    for undo in batch.answered():  # and by the one that waited for it
        undo()
    assert undone == ["once"]


@pytest.mark.slow
def test_an_undo_is_not_dropped() -> None:
    """What a failed round trip did is taken back though nobody waits for that any more."""
    threads, busy, undone = RequestThreads(1), threading.Event(), threading.Event()

    def fail() -> None:
        # The only thread has something else to do first.
        threads._waiting.put((_Batch(1, {}), 0, lambda: busy.wait(30)))
        raise LookupError("of the call")

    with pytest.raises(LookupError, match="of the call"):
        threads.answers([lambda: 1, fail], time.monotonic() + 0.5, {0: undone.set})
    assert not undone.is_set()
    busy.set()
    assert undone.wait(30)


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
