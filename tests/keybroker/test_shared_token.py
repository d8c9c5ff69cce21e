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


def test_fifty_threads_fetch_once(source: Source) -> None:
    """Fifty threads fetch once and get the same token."""
    source.release.clear()
    threading.Timer(0.2, source.release.set).start()
    assert together(50, source.get) == ["token-1"] * 50
    assert source.fetched == 1


def test_fifty_threads_get_their_own_error(source: Source) -> None:
    """Fifty threads each get an error of their own from one fetch."""
    source.release.clear()
    source.fault = Refused("invalid_target", "no grant", 400, "r-1", None)
    threading.Timer(0.5, source.release.set).start()
    errors = together(50, source.get)
    assert {str(one) for one in errors} == {"invalid_target: no grant (request r-1)"}
    assert len({id(one) for one in errors}) == 50
    assert source.fetched < 50  # whoever comes after the refusal asks for itself


def test_fifty_threads_replace_a_token_once(source: Source) -> None:
    """Fifty threads replace a rejected token once."""
    old = source.get()
    assert together(50, lambda: source.get(old)) == ["token-2"] * 50
    assert source.fetched == 2


# When it is replaced


def test_a_young_token_is_served(source: Source) -> None:
    """A young token is served without a request."""
    source.get()
    source.now += 500
    assert source.get() == "token-1"
    assert source.fetched == 1


def test_an_older_token_is_refreshed_ahead(source: Source) -> None:
    """An older token is served while the next one is fetched."""
    source.get()
    source.now += 700
    source.release.clear()
    assert together(20, source.get) == ["token-1"] * 20
    source.release.set()
    wait_until(source.quiet, PATIENCE)
    assert source.get() == "token-2"
    assert source.fetched == 2


def test_a_token_near_its_end_is_waited_for(source: Source) -> None:
    """In a token's last seconds callers wait for the next one."""
    source.get()
    source.now += 890
    assert source.get() == "token-2"


def test_an_expired_token_is_never_served(source: Source) -> None:
    """An expired token is never served."""
    source.get()
    source.now += 900
    source.fault = Unreachable("no broker")
    with pytest.raises(Unreachable):
        source.get()


def test_age_counts_from_the_request(source: Source) -> None:
    """A token ages from the start of its request."""
    source.release.clear()
    thread = threading.Thread(target=source.get)
    thread.start()
    wait_until(lambda: source.fetched == 1, PATIENCE)
    source.now += 60
    source.release.set()
    thread.join(PATIENCE)
    held = source.shared.get()
    assert held.age(Timestamp(source.now, source.now)) == 60


def test_sleep_counts_as_age() -> None:
    """After the machine slept its token is replaced, though the monotonic clock stood still."""
    source = Source()
    wall = [1000.0]
    source.shared = SharedToken(source.fetch, lambda: Timestamp(source.now, wall[0]))
    source.get()
    wall[0] += 3600
    assert source.get() == "token-2"


# When the broker is away


def test_an_outage_is_bridged_without_a_storm(source: Source) -> None:
    """A valid token is served while the broker is away, without a request for each call."""
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


def test_a_recovered_broker_is_noticed(source: Source) -> None:
    """A broker that recovers is noticed."""
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


def test_a_past_error_is_forgotten(source: Source) -> None:
    """An error that is over is forgotten."""
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
def test_a_token_near_its_end_bridges_an_outage(
    source: Source, fault: KeybrokerError, caplog: pytest.LogCaptureFixture
) -> None:
    """In its last seconds a valid token is served if there is no other."""
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


def test_retry_after_is_obeyed(source: Source) -> None:
    """A refusal with a Retry-After is repeated until then without a request."""
    source.fault = Refused("quota_exceeded", "", 429, "r-1", 20)
    for _ in range(3):
        with pytest.raises(Refused, match="quota_exceeded"):
            source.get()
    assert source.fetched == 1
    source.now += 20
    source.fault = None
    assert source.get() == "token-2"


def test_a_short_retry_after_is_not_prolonged(source: Source) -> None:
    """A refusal with a short Retry-After is not repeated for longer."""
    source.fault = Refused("temporarily_unavailable", "too many calls at once", 429, "r-1", 1)
    with pytest.raises(Refused):
        source.get()
    source.now += 1
    source.fault = None
    assert source.get() == "token-2"


def test_retry_after_is_capped_at_a_minute(source: Source) -> None:
    """A refusal is never repeated for more than a minute."""
    source.fault = Refused("quota_exceeded", "", 429, "r-1", 86_400)
    with pytest.raises(Refused):
        source.get()
    source.now += 60
    source.fault = None
    assert source.get() == "token-2"


def test_other_refusals_do_not_block(source: Source) -> None:
    """Any other refusal does not keep the next call from a request."""
    source.fault = Refused("invalid_target", "no grant", 400, "", None)
    with pytest.raises(Refused):
        source.get()
    source.fault = None
    assert source.get() == "token-2"


def test_an_unexpected_error_reaches_the_callers(source: Source) -> None:
    """An unexpected error reaches the waiting callers, and the next call tries again."""
    source.fault = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        source.get()
    source.fault = None
    assert source.get() == "token-2"


# When the edge answers 401


def test_a_replaced_token_costs_no_fetch(source: Source) -> None:
    """A rejected token that was replaced meanwhile costs no fetch."""
    first = source.get()
    assert source.get(first) == "token-2"
    assert source.get(first) == "token-2"
    assert source.fetched == 2


def test_repeated_rejections_do_not_repeat_fetches(source: Source) -> None:
    """A token that is rejected again and again is not fetched again and again."""
    text = source.get()
    for _ in range(20):
        text = source.get(text)
    assert source.fetched == 2
    source.now += FORCED_APART
    source.get(text)
    assert source.fetched == 3


def test_no_replacement_is_an_error(source: Source) -> None:
    """Without a replacement for a rejected token there is an error."""
    text = source.get()
    source.fault = Refused("invalid_grant", "access is revoked (principal)", 400, "", None)
    with pytest.raises(Refused, match="access is revoked"):
        source.get(text)


def test_a_discarded_token_is_not_served(source: Source) -> None:
    """A discarded token is not served again."""
    source.get()
    held = source.shared.discard()
    assert held is not None
    assert held.token.access_token == "token-1"
    assert source.shared.discard() is None
    assert source.get() == "token-2"


# Event loops, cancellation


def test_tasks_threads_and_loops_share_a_fetch(source: Source) -> None:
    """Tasks, threads and event loops share one fetch."""
    source.release.clear()

    async def many() -> list[str]:
        return await asyncio.gather(*(source.get_async() for _ in range(20)))

    threading.Timer(0.2, source.release.set).start()
    found = together(5, lambda: asyncio.run(many()))
    assert found == [["token-1"] * 20] * 5
    assert source.fetched == 1


def test_the_token_outlives_its_loop(source: Source) -> None:
    """The token outlives the event loop that fetched it."""
    assert [asyncio.run(source.get_async()) for _ in range(3)] == ["token-1"] * 3


def test_a_cancelled_task_harms_no_other(source: Source) -> None:
    """A cancelled task takes nothing from the others."""
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


def test_the_only_cancelled_task_leaves_its_fetch(source: Source) -> None:
    """When the only waiting task is cancelled its fetch serves the next caller."""
    source.release.clear()

    async def run() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(source.get_async(), 0.05)

    asyncio.run(run())
    source.release.set()
    assert source.get() == "token-1"
    assert source.fetched == 1


def test_waiting_does_not_block_the_loop(source: Source) -> None:
    """Waiting does not block the event loop."""
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
def test_a_fork_inherits_no_lock(source: Source) -> None:
    """A forked child is not held up by its parent's lock or fetch."""
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
def test_a_fork_inherits_the_token(source: Source) -> None:
    """A forked child serves the token that its parent fetched."""
    source.get()
    child = os.fork()
    if child == 0:
        os._exit(0 if source.get() == "token-1" and source.fetched == 1 else 1)
    assert wait_for(child) == 0


def test_forked_workers_refresh_apart(source: Source) -> None:
    """Forked workers do not all refresh together."""
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


def test_a_fetch_does_not_keep_a_program_alive() -> None:
    """A fetch under way does not keep a program from ending, and prints nothing."""
    wait = "threading.Thread(target=shared.get, daemon=True).start(); began.wait(30)"
    done = ending("threading.Event().wait(3600)", wait)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_token_is_served_at_exit() -> None:
    """A token can be had while the program ends."""
    token = "return Token('last-token', 900, 's', 'u')"
    done = ending(token, "atexit.register(lambda: print(shared.get().token.access_token))")
    assert (done.returncode, done.stdout, done.stderr) == (0, "last-token\n", "")


def test_without_threads_the_caller_fetches(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started the caller fetches itself."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert source.get() == "token-1"
    assert asyncio.run(source.get_async()) == "token-1"


def test_a_wait_can_be_interrupted() -> None:
    """A wait can be interrupted."""
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
def test_the_rules_hold_in_any_order(
    events: list[tuple[str, Any]],
) -> None:
    """In any order of events a valid token is served, an expired one never, and a call costs one fetch at most."""
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
