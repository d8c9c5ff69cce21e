"""The write-ahead log has a bound, however much is written."""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import threading
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from chalicelib import quota
from chalicelib.errors import Unavailable
from local.sqlite.edge_state import SqliteEdgeState
from local.sqlite.maintenance import Upkeep
from local.sqlite.state_file import LOG_BYTES, StateFile
from local.sqlite.write_ahead_log import LARGE, WriteAheadLog
from tests.contracts.samples import NOW, SIX

SMALL = 512 * 1024
_SPAWN = multiprocessing.get_context("spawn")


def call(state: StateFile, number: int) -> None:
    """Count one call of one of a thousand principals."""
    SqliteEdgeState(state).read_and_count(SIX, quota.counters("calls", "ci", f"p{number % 1000}", NOW + number // 1000))


@pytest.fixture
def small(kept: StateFile) -> Iterator[StateFile]:
    """The state file, with a small log."""
    state = StateFile(kept.path, durable=False, log_bytes=SMALL)
    yield state
    state.close()


def write(path: Path, calls: range) -> None:
    """Make so many calls without a pause."""
    state = StateFile(path, durable=False, log_bytes=SMALL)
    waiting = list(calls)
    while waiting:
        with contextlib.suppress(Unavailable):  # this machine may be busy for longer than a call waits
            call(state, waiting[-1])
            waiting.pop()
    state.close()


def test_several_writers_do_not_keep_it_from_being_emptied(small: StateFile) -> None:
    """While several connections write without a pause, upkeep keeps the log small."""
    threads = [threading.Thread(target=write, args=(small.path, range(at, at + 1200))) for at in (0, 1200, 2400)]
    log, largest = WriteAheadLog(small), 0
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        with contextlib.suppress(Unavailable):  # as above; upkeep comes back
            log.keep_small()
        largest = max(largest, log.size())
    for thread in threads:
        thread.join()
    log.keep_small()
    log.close()
    assert SMALL < largest < 16 * SMALL  # without upkeep, it would be four times that
    assert log.size() <= SMALL


def test_a_log_that_sqlite_begins_anew_is_cut_too(kept: StateFile) -> None:
    with kept.reading() as connection:
        assert connection.execute("PRAGMA journal_size_limit").fetchone() == (LOG_BYTES,)


def test_a_reader_that_stays_is_said_once(small: StateFile, caplog: pytest.LogCaptureFixture) -> None:
    """While a reader keeps the log from being emptied, others write, and the log says so once."""
    other, log = StateFile(small.path, durable=False, log_bytes=SMALL), WriteAheadLog(small)
    with caplog.at_level(logging.WARNING, "keybroker"), other.reading() as connection:
        connection.execute("SELECT count(*) FROM counters").fetchone()
        write(small.path, range(0, 10_000, 7))
        for _ in range(3):
            log.keep_small()
    assert log.size() > LARGE * SMALL
    log.keep_small()
    other.close()
    log.close()
    assert log.size() == 0
    [said] = [json.loads(record.message) for record in caplog.records]
    assert said["reason"] == "write_ahead_log_large"


def _soak(path: Path, calls: int, begin: Event) -> None:
    """Make so many calls a second for as long as there is a file called `soak` beside the state."""
    state, number, refused = StateFile(path, durable=False), 0, 0
    begin.wait()
    started = time.monotonic()
    while path.with_name("soak").exists():
        while number < (time.monotonic() - started) * calls:
            try:
                call(state, number)
            except Unavailable:
                refused += 1
            number += 1
        time.sleep(0.001)
    state.close()
    path.with_name(f"done-{number}-{refused}").touch()


@pytest.mark.slow
def test_a_thousand_calls_a_second_on_a_disk(kept: StateFile) -> None:
    """At 1,000 calls a second on a disk, the log stays under four times what it should be; nearly no call is refused."""
    seconds, workers, begin = 20, 2, _SPAWN.Event()
    kept.path.with_name("soak").touch()
    args = (kept.path, 1000 // workers, begin)
    processes = [_SPAWN.Process(target=_soak, args=args) for _ in range(workers)]
    for process in processes:
        process.start()
    largest = 0
    with Upkeep(StateFile(kept.path, durable=False)).running():
        begin.set()
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            time.sleep(0.05)
            largest = max(largest, WriteAheadLog(kept).size())
        kept.path.with_name("soak").unlink()
        for process in processes:
            process.join(20)
    done, refused = (
        sum(map(int, each))
        for each in zip(*(one.name.split("-")[1:] for one in kept.path.parent.glob("done-*")), strict=True)
    )
    assert done > seconds * 300, "this machine is too slow to say anything"
    assert largest < 4 * LOG_BYTES
    assert refused < done / 1000
