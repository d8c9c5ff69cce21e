"""One token for all: who fetches, who waits, who is served what, and what breaks it not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybroker import Refused, Token, Unreachable
from keybroker.clock import Timestamp
from keybroker.errors import KeybrokerError
from keybroker.refresh import Due
from keybroker.shared_token import FORCED_APART, REST, SharedToken
from tests.running import ROOT, wait_until

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


@pytest.fixture
def source() -> Source:
    return Source()


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


# One fetch


def test_fifty_threads_fetch_once_and_get_the_same_token(source: Source) -> None:
    source.release.clear()
    threading.Timer(0.2, source.release.set).start()
    assert together(50, source.get) == ["token-1"] * 50
    assert source.fetched == 1


def test_fifty_threads_get_an_error_of_their_own_from_one_fetch(source: Source) -> None:
    source.release.clear()
    source.fault = Refused("invalid_target", "no grant", 400, "r-1", None)
    threading.Timer(0.5, source.release.set).start()
    errors = together(50, source.get)
    assert {str(one) for one in errors} == {"invalid_target: no grant (request r-1)"}
    assert len({id(one) for one in errors}) == 50
    assert source.fetched < 50  # whoever comes after the refusal asks for itself


def test_fifty_threads_replace_a_rejected_token_once(source: Source) -> None:
    old = source.get()
    assert together(50, lambda: source.get(old)) == ["token-2"] * 50
    assert source.fetched == 2


# When it is replaced


def test_a_young_token_is_served_without_asking(source: Source) -> None:
    source.get()
    source.now += 500
    assert source.get() == "token-1"
    assert source.fetched == 1


def test_an_older_token_is_served_while_the_next_one_is_fetched(source: Source) -> None:
    source.get()
    source.now += 700
    source.release.clear()
    assert together(20, source.get) == ["token-1"] * 20
    source.release.set()
    wait_until(source.quiet, PATIENCE)
    assert source.get() == "token-2"
    assert source.fetched == 2


def test_a_token_in_its_last_seconds_is_waited_for(source: Source) -> None:
    source.get()
    source.now += 890
    assert source.get() == "token-2"


def test_a_dead_token_is_never_served(source: Source) -> None:
    source.get()
    source.now += 900
    source.fault = Unreachable("no broker")
    with pytest.raises(Unreachable):
        source.get()


def test_a_token_ages_from_the_start_of_its_request(source: Source) -> None:
    source.release.clear()
    thread = threading.Thread(target=source.get)
    thread.start()
    wait_until(lambda: source.fetched == 1, PATIENCE)
    source.now += 60
    source.release.set()
    thread.join(PATIENCE)
    held = source.shared.get()
    assert held.age(Timestamp(source.now, source.now)) == 60


def test_after_a_machine_slept_its_token_is_replaced_though_the_steady_clock_stood_still() -> None:
    source = Source()
    wall = [1000.0]
    source.shared = SharedToken(source.fetch, lambda: Timestamp(source.now, wall[0]))
    source.get()
    wall[0] += 3600
    assert source.get() == "token-2"


# When the broker is away


def test_the_valid_token_is_served_while_the_broker_is_away_and_it_is_not_asked_by_each_call(source: Source) -> None:
    source.get()
    source.fault = Unreachable("no broker")
    source.now += 700
    for _ in range(50):
        assert source.get() == "token-1"
    wait_until(source.quiet, PATIENCE)
    assert [source.get() for _ in range(50)] == ["token-1"] * 50
    assert source.fetched == 2
    source.now += REST[1]
    source.get()
    wait_until(source.quiet, PATIENCE)
    assert source.fetched == 3


def test_a_broker_that_comes_back_is_noticed(source: Source) -> None:
    source.get()
    source.fault = Unreachable("no broker")
    source.now += 700
    source.get()
    wait_until(source.quiet, PATIENCE)
    source.fault = None
    source.now += REST[1]
    source.get()
    wait_until(source.quiet, PATIENCE)
    assert source.get() == "token-3"


def test_a_fault_that_is_over_is_forgotten(source: Source) -> None:
    source.get()
    source.now += 700
    source.fault = Unreachable("no broker")
    source.get()
    wait_until(source.quiet, PATIENCE)
    source.fault = None
    source.now += 300
    assert source.get() == "token-3"
    source.now += 885
    assert source.get() == "token-4"  # waited for again, as in quiet times


@pytest.mark.parametrize("fault", [Unreachable("no broker"), Refused("invalid_target", "no grant", 400, "", None)])
def test_in_its_last_seconds_the_valid_token_is_served_if_there_is_no_other(
    source: Source, fault: KeybrokerError, caplog: pytest.LogCaptureFixture
) -> None:
    source.get()
    source.fault = fault
    source.now += 885
    assert source.get() == "token-1"
    assert "still using the current one" in caplog.text
    assert "token-1" not in caplog.text
    source.now += REST[1]
    source.release.clear()
    assert source.get() == "token-1"  # the next attempt is under way, and nobody waits for it
    source.release.set()


def test_a_refusal_that_names_a_time_is_repeated_until_then_without_asking(source: Source) -> None:
    source.fault = Refused("quota_exceeded", "", 429, "r-1", 20)
    for _ in range(3):
        with pytest.raises(Refused, match="quota_exceeded"):
            source.get()
    assert source.fetched == 1
    source.now += 20
    source.fault = None
    assert source.get() == "token-2"


def test_a_refusal_that_names_a_short_time_is_not_repeated_for_longer(source: Source) -> None:
    source.fault = Refused("temporarily_unavailable", "too many calls at once", 429, "r-1", 1)
    with pytest.raises(Refused):
        source.get()
    source.now += 1
    source.fault = None
    assert source.get() == "token-2"


def test_a_refusal_is_never_repeated_for_more_than_a_minute(source: Source) -> None:
    source.fault = Refused("quota_exceeded", "", 429, "r-1", 86_400)
    with pytest.raises(Refused):
        source.get()
    source.now += 60
    source.fault = None
    assert source.get() == "token-2"


def test_any_other_refusal_does_not_keep_the_next_call_from_asking(source: Source) -> None:
    source.fault = Refused("invalid_target", "no grant", 400, "", None)
    with pytest.raises(Refused):
        source.get()
    source.fault = None
    assert source.get() == "token-2"


def test_a_fault_of_our_own_reaches_who_waits_and_the_next_call_tries_again(source: Source) -> None:
    source.fault = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        source.get()
    source.fault = None
    assert source.get() == "token-2"


# When the edge answers 401


def test_a_rejected_token_that_was_replaced_since_costs_no_fetch(source: Source) -> None:
    first = source.get()
    assert source.get(first) == "token-2"
    assert source.get(first) == "token-2"
    assert source.fetched == 2


def test_what_is_rejected_again_and_again_is_not_replaced_again_and_again(source: Source) -> None:
    text = source.get()
    for _ in range(20):
        text = source.get(text)
    assert source.fetched == 2
    source.now += FORCED_APART
    source.get(text)
    assert source.fetched == 3


def test_no_replacement_for_a_rejected_token_is_an_error(source: Source) -> None:
    text = source.get()
    source.fault = Refused("invalid_grant", "access is revoked (principal)", 400, "", None)
    with pytest.raises(Refused, match="access is revoked"):
        source.get(text)


def test_a_token_that_is_forgotten_is_not_served_again(source: Source) -> None:
    source.get()
    held = source.shared.discard()
    assert held is not None
    assert held.token.access_token == "token-1"
    assert source.shared.discard() is None
    assert source.get() == "token-2"


# Event loops, cancellation


def test_tasks_and_threads_and_loops_share_one_fetch(source: Source) -> None:
    source.release.clear()

    async def many() -> list[str]:
        return await asyncio.gather(*(source.get_async() for _ in range(20)))

    threading.Timer(0.2, source.release.set).start()
    found = together(5, lambda: asyncio.run(many()))
    assert found == [["token-1"] * 20] * 5
    assert source.fetched == 1


def test_a_loop_that_is_gone_leaves_the_token_for_the_next_one(source: Source) -> None:
    assert [asyncio.run(source.get_async()) for _ in range(3)] == ["token-1"] * 3


def test_a_task_that_is_cancelled_takes_nothing_from_the_others(source: Source) -> None:
    source.release.clear()

    async def run() -> str:
        first = asyncio.create_task(source.get_async())
        second = asyncio.create_task(source.get_async())
        await asyncio.sleep(0.05)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        source.release.set()
        return await second

    assert asyncio.run(run()) == "token-1"
    assert source.get() == "token-1"
    assert source.fetched == 1


def test_the_only_task_being_cancelled_leaves_its_fetch_to_whoever_comes_next(source: Source) -> None:
    source.release.clear()

    async def run() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(source.get_async(), 0.05)

    asyncio.run(run())
    source.release.set()
    assert source.get() == "token-1"
    assert source.fetched == 1


def test_waiting_does_not_block_the_loop(source: Source) -> None:
    source.release.clear()

    async def run() -> str:
        waiting = asyncio.create_task(source.get_async())
        for _ in range(10):
            await asyncio.sleep(0.001)
        source.release.set()
        return await waiting

    assert asyncio.run(run()) == "token-1"


# Forks, and the end of the program


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12 warns of what is tested here
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_child_of_a_fork_is_held_up_by_no_lock_and_no_fetch_of_its_parent(source: Source) -> None:
    source.get()
    source.now += 900
    source.release.clear()
    thread = threading.Thread(target=source.get)
    thread.start()
    wait_until(lambda: source.fetched == 2, PATIENCE)
    with source.shared._lock:  # as another thread might hold it at that moment
        child = os.fork()
        if child == 0:
            source.release = threading.Event()
            source.release.set()
            os._exit(0 if source.get() == "token-3" else 1)
    status = wait_for(child)
    source.release.set()
    thread.join(PATIENCE)
    assert status == 0
    assert source.get() == "token-2"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_child_of_a_fork_serves_the_token_that_its_parent_fetched(source: Source) -> None:
    source.get()
    child = os.fork()
    if child == 0:
        os._exit(0 if source.get() == "token-1" and source.fetched == 1 else 1)
    assert wait_for(child) == 0


def test_forked_workers_do_not_all_ask_together(source: Source) -> None:
    source.get()
    spreads = set()
    for _ in range(5):
        source.shared.after_fork()  # as it is called in each child
        spreads.add(source.shared.get().spread)
    assert len(spreads) == 5


def wait_for(child: int) -> int:
    """Return a child's exit code; a child that hangs is killed, and that is an error."""
    ended: list[int] = []

    def over() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            ended.append(os.waitstatus_to_exitcode(status))
        return bool(ended)

    try:
        wait_until(over, PATIENCE)
    except TimeoutError:
        os.kill(child, 9)
        os.waitpid(child, 0)
        raise
    return ended[0]


ENDING = """
import atexit, sys, threading
sys.path.insert(0, {root!r})
from keybroker import Token
from keybroker.refresh import Due
from keybroker.shared_token import SharedToken
began = threading.Event()
def fetch():
    began.set()
    {body}
shared = SharedToken(fetch)
{then}
"""


def ending(body: str, then: str) -> subprocess.CompletedProcess[str]:
    """Run a program that ends around a fetch."""
    program = ENDING.format(root=str(ROOT), body=body, then=then)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


def test_a_fetch_under_way_keeps_no_program_from_ending_and_says_nothing() -> None:
    wait = "threading.Thread(target=shared.get, daemon=True).start(); began.wait(30)"
    done = ending("threading.Event().wait(3600)", wait)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_token_can_be_had_while_the_program_ends() -> None:
    token = "return Token('last-token', 900, 's', 'u')"
    done = ending(token, "atexit.register(lambda: print(shared.get().token.access_token))")
    assert (done.returncode, done.stdout, done.stderr) == (0, "last-token\n", "")


def test_where_no_thread_can_be_started_the_caller_fetches_itself(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert source.get() == "token-1"
    assert asyncio.run(source.get_async()) == "token-1"


def test_a_wait_can_be_interrupted() -> None:
    then = """
import os, signal
try:
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    shared.get()
except KeyboardInterrupt:
    print("interrupted")
"""
    done = ending("threading.Event().wait(3600)", then)
    assert (done.returncode, done.stdout) == (0, "interrupted\n")


# Whatever happens, in whatever order

FAULTS: list[KeybrokerError | None] = [
    None,
    Unreachable("no broker"),
    Refused("invalid_target", "no grant", 400, "", None),
    Refused("quota_exceeded", "", 429, "", 30),
]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([0.5, 3, 20, 100, 300, 900])),
        st.tuples(st.just("broker"), st.sampled_from(FAULTS)),
        st.tuples(st.just("get"), st.none()),
        st.tuples(st.just("rejected"), st.none()),
    ),
    max_size=30,
)


@given(events=steps)
def test_a_valid_token_is_always_served_a_dead_one_never_and_each_call_costs_one_fetch_at_most(
    events: list[tuple[str, Any]],
) -> None:
    source = Source()
    for event, value in events:
        before, held = source.fetched, source.shared._held
        now = Timestamp(source.now, source.now)
        valid = held is not None and held.due(now) is not Due.DEAD
        if event == "wait":
            source.now += value
        elif event == "broker":
            source.fault = value
        else:
            rejected = held.token.access_token if held is not None and event == "rejected" else None
            try:
                found = source.shared.get(rejected)
            except KeybrokerError:
                assert source.fault is not None or source.fetched == before  # the second: it still rests
                assert not valid or rejected is not None
            else:
                assert found.due(now) is not Due.DEAD
        wait_until(source.quiet, PATIENCE)
        assert source.fetched - before <= 1
