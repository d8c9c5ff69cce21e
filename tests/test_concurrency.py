"""Many at once, threads and processes, on one state file: limits are exact, a replay race has one winner."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from chalicelib import quota
from chalicelib.audit import Query
from chalicelib.errors import Refusal, Unavailable
from chalicelib.ledger import Issuance, Pin
from chalicelib.quota import Limit
from local.sqlite import StateFile
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW, SIX, SUB, calls, grant, issuance, lock, policy, wanted
from tests.contracts.sqlite_adapters import over
from tests.running import Answer, Running, start

_SPAWN = multiprocessing.get_context("spawn")
_THREADS, _PROCESSES = 16, 3
_PATIENCE = 20.0
Act = Callable[[Adapters], str]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state file."""
    StateFile.create(tmp_path / "state.db")
    return tmp_path / "state.db"


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Running]:
    """Keybroker with two worker processes."""
    with start("--workers", "2") as one:
        yield one


def _patient(act: Act, adapters: Adapters) -> str:
    """Do it until it is decided: a busy store decides nothing."""
    ends = time.monotonic() + _PATIENCE
    while time.monotonic() < ends:
        try:
            return act(adapters)
        except Unavailable:
            continue
        except Refusal as refusal:
            return refusal.reason
    return "never decided"


def _in_threads(path: Path, act: Act, threads: int, times: int) -> Counter[str]:
    """Let each thread act so many times, with a connection of its own, all starting at once."""
    barrier, state = threading.Barrier(threads), StateFile(path, durable=False)
    adapters = over(state)

    def run(_: int) -> list[str]:
        barrier.wait(_PATIENCE)
        try:
            return [_patient(act, adapters) for _ in range(times)]
        finally:
            state.close()

    with ThreadPoolExecutor(threads) as pool:
        return Counter(said for one in pool.map(run, range(threads)) for said in one)


def _in_a_process(path: Path, act: Act, times: int, answer: Connection) -> None:
    answer.send("ready")
    answer.recv()
    answer.send(_in_threads(path, act, 4, times))


def _in_processes(path: Path, act: Act, times: int) -> Counter[str]:
    """Let 4 threads of each of several processes act so many times."""
    pipes, processes = [], []
    for _ in range(_PROCESSES):
        ours, theirs = _SPAWN.Pipe()
        processes.append(_SPAWN.Process(target=_in_a_process, args=(path, act, times, theirs), daemon=True))
        processes[-1].start()
        theirs.close()
        pipes.append(ours)
    said: Counter[str] = Counter()
    for pipe in pipes:
        assert pipe.poll(_PATIENCE)
        pipe.recv()
    for pipe in pipes:
        pipe.send("go")
    for pipe, process in zip(pipes, processes, strict=True):
        with pipe:
            assert pipe.poll(_PATIENCE * 2)
            said += pipe.recv()
        process.join(10)
    return said


def _in_many_threads(path: Path, act: Act) -> Counter[str]:
    return _in_threads(path, act, _THREADS, 2)


def _in_many_processes(path: Path, act: Act) -> Counter[str]:
    return _in_processes(path, act, 2)


_TOGETHER = pytest.mark.parametrize("together", [_in_many_threads, _in_many_processes], ids=["threads", "processes"])


class _Call:
    """One call through the gate, under a limit. A class, so that other processes can be handed it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def __call__(self, adapters: Adapters) -> str:
        """Admit or refuse, as `admission` does."""
        wave = adapters.gate.wave(SIX, calls())
        if not quota.exceeded([Limit(self.limit, "day")], wave.numbers, NOW):
            return "admitted"
        while True:
            try:
                adapters.gate.give_back(calls(), "a_test")
            except Unavailable:
                continue
            return "refused"


class _Exchange:
    """One issuance with a lock, each attempt with claims of its own."""

    def __init__(self, idempotency: str) -> None:
        self.lock = lock(idempotency=idempotency)

    def __call__(self, adapters: Adapters) -> str:
        """Return the `jti` that was issued."""
        mine = replace(self.lock, claims={**self.lock.claims, "jti": samples.new_id()})
        issued: Issuance = issuance(Limit(1000, "day"), lock=mine)
        before = adapters.ledger.issue(issued, NOW)
        return str((before or mine.claims)["jti"])


class _Apply:
    """One attempt to put a policy in force in place of version 0."""

    def __call__(self, adapters: Adapters) -> str:
        """Return the text that was put in force."""
        mine = samples.new_id()
        return adapters.control.apply(policy(grant(mine)), mine, 0, samples.event("policy.applied")).text


class _FirstUse:
    """One issuance to a role whose unique id is another one each time."""

    def __call__(self, adapters: Adapters) -> str:
        """Return the unique id that was bound."""
        mine = samples.new_id()
        adapters.ledger.issue(replace(issuance(Limit(1000, "day")), pin=Pin("arn:aws:iam::1:role/app", mine)), NOW)
        return mine


def _assert_exact(path: Path, said: Counter[str], limit: int) -> None:
    assert said["admitted"] == limit
    assert set(said) == {"admitted", "refused"}
    state = StateFile(path)
    assert {over(state).counted(one) for one in calls()} == {(limit, said["refused"])}
    state.close()


def _assert_issued_once(path: Path) -> str:
    state = StateFile(path)
    adapters = over(state)
    [event] = adapters.ledger.page(Query()).events
    assert {adapters.counted(one) for one in quota.counters("tokens", "ci", SUB, NOW)} == {(1, 0)}
    state.close()
    return event.id


@pytest.mark.parametrize("limit", [1, 7, 200])
def test_threads_are_admitted_exactly_to_the_limit(path: Path, limit: int) -> None:
    said = _in_threads(path, _Call(limit), _THREADS, max(3, limit * 3 // 2 // _THREADS))
    _assert_exact(path, said, limit)


@pytest.mark.parametrize("limit", [1, 7, 200])
def test_processes_are_admitted_exactly_to_the_limit(path: Path, limit: int) -> None:
    said = _in_processes(path, _Call(limit), max(3, limit * 3 // 2 // (4 * _PROCESSES)))
    _assert_exact(path, said, limit)


@_TOGETHER
def test_a_replay_race_has_one_winner(path: Path, together: Callable[[Path, Act], Counter[str]]) -> None:
    said = together(path, _Exchange(""))
    replayed = said.pop("replayed")
    assert list(said.values()) == [1]
    assert replayed >= 23
    _assert_issued_once(path)


@_TOGETHER
def test_retries_with_one_idempotency_key_all_get_one_token(
    path: Path, together: Callable[[Path, Act], Counter[str]]
) -> None:
    said = together(path, _Exchange("key-1"))
    assert len(said) == 1
    assert sum(said.values()) >= 24
    _assert_issued_once(path)


@_TOGETHER
def test_of_many_who_plan_against_one_version_one_wins(
    path: Path, together: Callable[[Path, Act], Counter[str]]
) -> None:
    said = together(path, _Apply())
    lost = said.pop("policy_changed")
    assert lost >= 23
    [(text, wins)] = said.items()
    state = StateFile(path)
    adapters = over(state)
    assert (wins, adapters.control.current().version, adapters.control.current().text) == (1, 1, text)
    assert [one.name for one, _ in adapters.ledger.find(wanted()).grants or ()] == [text]
    assert len(adapters.ledger.page(Query()).events) == 1
    state.close()


@_TOGETHER
def test_of_many_first_uses_of_one_name_one_binds_it(path: Path, together: Callable[[Path, Act], Counter[str]]) -> None:
    said = together(path, _FirstUse())
    assert said.pop("identity_changed") >= 23
    assert list(said.values()) == [1]
    _assert_issued_once(path)


def _decided(act: Callable[[], Answer]) -> Answer:
    ends = time.monotonic() + _PATIENCE
    while (answer := act()).status == 503 and time.monotonic() < ends:
        pass
    return answer


def _together(act: Callable[[], Answer], times: int) -> list[Answer]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda _: _decided(act), range(times)))


def test_two_workers_admit_exactly_the_limit_over_http(two_workers: Running) -> None:
    token = two_workers.token("7401", owner="7")
    statuses = Counter(one.status for one in _together(lambda: two_workers.complete(token), 32))
    assert statuses == {200: 5, 429: 27}


def test_two_workers_issue_exactly_the_limit_over_http(two_workers: Running) -> None:
    tokens = iter([two_workers.mint("7402", repository_owner_id="7") for _ in range(16)])
    waiting = {number: next(tokens) for number in range(16)}
    with ThreadPoolExecutor(_THREADS) as pool:
        answers = list(pool.map(lambda number: _decided(lambda: two_workers.exchange(waiting[number])), waiting))
    assert Counter(one.status for one in answers) == {200: 3, 429: 13}
    assert {one.json["error"] for one in answers if one.status == 429} == {"quota_exceeded"}


def test_a_replay_race_over_http_has_one_winner(two_workers: Running) -> None:
    subject_token = two_workers.mint("7403")
    answers = _together(lambda: two_workers.exchange(subject_token), 24)
    assert Counter(one.status for one in answers) == {200: 1, 400: 23}
    assert {one.json["error"] for one in answers if one.status == 400} == {"invalid_grant"}
    assert _issued(two_workers, "7403") == 1


def test_retries_over_http_all_get_one_token(two_workers: Running) -> None:
    subject_token, key = two_workers.mint("7404"), "k" * 32
    answers = _together(lambda: two_workers.exchange(subject_token, idempotency_key=key), 24)
    assert {one.status for one in answers} == {200}
    assert len({samples.jti_of(one.json["access_token"]) for one in answers}) == 1
    assert _issued(two_workers, "7404") == 1


def _issued(running: Running, repository_id: str) -> int:
    found = running.administer(
        "GET", f"/admin/audit?kind=token.issued&limit=200&principal={running.sub(repository_id).replace('|', '%7C')}"
    )
    return len(found.json["items"])


@pytest.mark.parametrize("scope", ["principal", "grant"])
def test_no_call_that_starts_after_the_acknowledgement_is_admitted(two_workers: Running, scope: str) -> None:
    token = two_workers.token("7405")
    stop, made = threading.Event(), []

    def hammer() -> None:
        while not stop.is_set():
            started = time.monotonic()
            made.append((started, two_workers.complete(token).status))

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.3)
        revocation = two_workers.revoke(scope, two_workers.sub("7405") if scope == "principal" else "ci")
        acknowledged = time.monotonic()
        time.sleep(0.3)
    finally:
        stop.set()
        for thread in threads:
            thread.join(_PATIENCE)
    assert two_workers.administer("DELETE", f"/admin/revocations/{revocation}").status == 200
    before = Counter(status for started, status in made if started <= acknowledged)
    after = Counter(status for started, status in made if started > acknowledged)
    assert before[200] > 0
    assert after[403] > 0
    assert set(after) <= {403, 503}
