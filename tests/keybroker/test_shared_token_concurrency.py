"""A shared token across event loops, cancellation, forks and the end of the program."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading

import pytest

from tests.keybroker.numbered_source import PATIENCE, Source, together
from tests.running import ROOT, wait_until


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
