"""State out of reach: every port refuses in a bounded time, nothing happens, and it works again by itself."""

from __future__ import annotations

import contextlib
import multiprocessing
import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from chalicelib.audit import Query
from chalicelib.errors import Unavailable
from chalicelib.exchange.ledger import Pin
from chalicelib.quota import EVERYBODY, counters
from chalicelib.revocation import SCOPES, RevocationTarget
from chalicelib.usage import UsageQuery
from local.machine import Machine
from local.practice import policy as practice
from local.sqlite.state_file import StateFile
from local.urls import Urls
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import (
    NOW,
    SIX,
    SUB,
    calls,
    grant,
    issuance,
    lock,
    policy,
    put_in_force,
    revocation,
    wanted,
)
from tests.contracts.sqlite_adapters import over
from tests.running import Running, call

_SPAWN = multiprocessing.get_context("spawn")
Fault = Callable[[Path], AbstractContextManager[None]]

_HELD = revocation("principal", "held")
_ROLE = "arn:aws:iam::123456789012:role/app"
READS: dict[str, Callable[[Adapters], object]] = {
    "find": lambda one: one.ledger.find(wanted()),
    "find_named": lambda one: one.ledger.find(wanted(grant="ci")),
    "current": lambda one: one.control.current(),
    "page": lambda one: one.ledger.page(Query()),
    "revocation_state": lambda one: one.control.revocation_state(SIX["principal"]),
    "revocation": lambda one: one.control.revocation(_HELD.id),
    "revocations": lambda one: one.control.revocations("", "", 50),
    "uses": lambda one: one.usage.uses(UsageQuery("day", NOW)),
    "recent_calls": lambda one: one.usage.recent_calls([(SUB, "ci")], NOW),
}
WRITES: dict[str, Callable[[Adapters], object]] = {
    "issue_pinned": lambda one: one.ledger.issue(replace(issuance(), pin=Pin(_ROLE, "AROA1")), NOW),
    "issue": lambda one: one.ledger.issue(issuance(lock=lock("fault")), NOW),
    "record": lambda one: one.ledger.record(samples.event()),
    "record_refused": lambda one: one.ledger.record(samples.event("token.refused", principal=SUB, reason="a_test")),
    "read_and_count": lambda one: one.edge_state.read_and_count(SIX, calls()),
    "read_and_count_total": lambda one: one.edge_state.read_and_count(
        SIX, calls(), counters("calls", "ci", EVERYBODY, NOW)
    ),
    "count": lambda one: one.edge_state.count(calls()),
    "give_back": lambda one: one.edge_state.give_back(calls(), "a_test"),
    "revoke": lambda one: one.control.revoke(revocation("grant", "ci"), samples.event("revocation.made")),
    "restore": lambda one: one.control.restore(_HELD.id, "tester", samples.event("revocation.lifted")),
    "apply": lambda one: one.control.apply(policy(), "the text", 1, samples.event("policy.applied")),
    "pin": lambda one: one.control.pin(_ROLE, "AROA2", samples.event("principal.pinned")),
    "keys": lambda one: one.control.keys(samples.event("keys.read")),
    "set_key_version": lambda one: one.control.set_key("openai", samples.key_version("v2"), samples.event("key.set")),
    "list_signing_keys": lambda one: one.control.list_signing_keys(("kid-2",)),
}


@contextlib.contextmanager
def _missing(path: Path) -> Iterator[None]:
    path.rename(path.with_suffix(".away"))
    try:
        yield
    finally:
        path.with_suffix(".away").rename(path)


@contextlib.contextmanager
def _replaced(path: Path, put: Callable[[Path], object]) -> Iterator[None]:
    with _missing(path):
        put(path)
        yield
        path.rmdir() if path.is_dir() else path.unlink()


def _replaced_by_nothing(path: Path) -> AbstractContextManager[None]:
    return _replaced(path, Path.touch)


def _replaced_by_a_new_one(path: Path) -> AbstractContextManager[None]:
    def put(_path: Path) -> None:
        StateFile.create(path.with_name("new.db")).close()
        path.with_name("new.db").rename(path)

    return _replaced(path, put)


def _unreadable(path: Path) -> AbstractContextManager[None]:
    return _replaced(path, Path.mkdir)


def _garbled(path: Path) -> AbstractContextManager[None]:
    return _replaced(path, lambda one: one.write_bytes(b"\xa5" * 8192))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state file of this test is."""
    return tmp_path / "state.db"


@pytest.fixture
def adapters(path: Path) -> Iterator[Adapters]:
    """Adapters over a state file with a policy, a counted call and a revocation in force."""
    state = StateFile.create(path)
    one = over(state)
    _fill(one)
    yield one
    state.close()


def _fill(one: Adapters) -> None:
    put_in_force(one.control, grant())
    one.control.list_signing_keys(("kid-1",))
    one.control.revoke(_HELD, samples.event("revocation.made"))
    one.edge_state.read_and_count(SIX, calls())


def _content(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def _refuses(act: Callable[[Adapters], object], adapters: Adapters) -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"state_(unavailable|file_replaced)") as caught:
        act(adapters)
    assert time.monotonic() - started < 2
    assert (caught.value.status, caught.value.retry_after) == (503, 1)


@pytest.mark.slow
@pytest.mark.parametrize("port", [*READS, *WRITES])
@pytest.mark.parametrize(
    "fault",
    [_missing, _replaced_by_nothing, _replaced_by_a_new_one, _unreadable, _garbled],
    ids=lambda one: one.__name__,
)
def test_a_missing_file_is_refused(adapters: Adapters, path: Path, fault: Fault, port: str) -> None:
    """Without its file, every port refuses, changes nothing, and works again afterwards."""
    act = (READS | WRITES)[port]
    before = _content(path)
    with fault(path):
        for _ in range(2):
            _refuses(act, adapters)
    assert _content(path) == before
    act(adapters)
    assert (_content(path) != before) is (port in WRITES)


@pytest.mark.parametrize("port", WRITES)
def test_a_busy_file_is_refused(adapters: Adapters, path: Path, port: str) -> None:
    """Beside another writer, every port that writes refuses after a short wait."""
    before = _content(path)
    with _locked(path):
        _refuses(WRITES[port], adapters)
    assert _content(path) == before
    WRITES[port](adapters)
    assert _content(path) != before


@pytest.mark.parametrize("port", READS)
def test_beside_another_writer_reading_goes_on(adapters: Adapters, path: Path, port: str) -> None:
    with _locked(path):
        READS[port](adapters)


def _on_a_full_disk(path: Path, answer: Connection) -> None:
    """In a process of its own: no file may grow, every port that writes is tried, then files may grow again."""
    state = StateFile.create(path)
    adapters = over(state)
    _fill(adapters)
    before = _content(path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    said = {}
    for name, act in (WRITES | READS).items():
        try:
            act(adapters)
            said[name] = "done"
        except Unavailable as refusal:
            said[name] = refusal.reason
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    unchanged = _content(path) == before
    for act in (WRITES | READS).values():
        act(adapters)
    state.close()
    answer.send((said, unchanged))


def test_a_full_disk_is_refused(path: Path) -> None:
    """On a full disk, every port that writes refuses, changes nothing, and works again afterwards."""
    ours, theirs = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_on_a_full_disk, args=(path, theirs))
    process.start()
    theirs.close()
    with ours:
        assert ours.poll(20)
        said, unchanged = ours.recv()
    process.join(10)
    assert {said[name] for name in WRITES} <= {"state_unavailable", "state_uncertain"}
    assert {said[name] for name in READS} <= {"done", "state_unavailable"}
    assert unchanged


@pytest.mark.parametrize("fault", [_missing, _replaced_by_a_new_one, _locked], ids=lambda one: one.__name__)
def test_both_doors_recover_with_the_file(running: Running, fault: Fault) -> None:
    """Over HTTP both doors answer 503, and serve again once the file is back."""
    token, subject_token = running.token("7301"), running.mint("7301")
    seen = len(call("GET", f"{running.provider}/_seen").json["seen"])
    once = running.impatient()
    with fault(running.state / "state.db"):
        exchanged, called = once.exchange(subject_token), once.complete(token)
        revoked = once.administer(
            "POST",
            "/admin/revocations",
            {"scope": "principal", "id": running.sub("7301"), "reason": "a test", "unseen": True},
        )
    assert (exchanged.status, exchanged.json["error"]) == (503, "temporarily_unavailable")
    assert called.status == 503, called
    assert (called.status, called.json["error"]["code"]) == (503, "temporarily_unavailable")
    assert (revoked.status, revoked.json["title"]) == (503, "temporarily_unavailable")
    assert {one.headers["retry-after"] for one in (exchanged, called, revoked)} == {"1"}
    assert called.headers.get("x-should-retry", "true") == "true"
    assert len(call("GET", f"{running.provider}/_seen").json["seen"]) == seen
    assert running.complete(token).status == 200
    assert running.exchange(subject_token).status == 200


def test_a_refusal_that_cannot_be_audited_is_a_503(running: Running) -> None:
    stranger = running.mint("7302", repository_owner_id="1")
    with _locked(running.state / "state.db"):
        refused = running.impatient().exchange(stranger)
    assert (refused.status, refused.json["error"]) == (503, "temporarily_unavailable")
    assert running.exchange(stranger).json["error"] == "invalid_target"


def test_an_early_replacement_is_not_served(tmp_path: Path) -> None:
    """A file that is replaced before the first call is not used."""
    here = Machine(
        tmp_path, Urls("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3", "http://127.0.0.1:4")
    )
    here.prepare(None, practice.made_up_values())
    edge_state, public, admin = here.edge_ports().edge.state, here.public_ports(), here.admin_ports()
    six = {scope: RevocationTarget(scope, "*") for scope in SCOPES}
    attempts: list[Callable[[], object]] = [
        lambda: edge_state.read_and_count(six, calls()),
        lambda: public.broker.ledger.page(Query()),
        lambda: admin.audit.page(Query()),
        admin.policies.current,
    ]
    with _replaced_by_a_new_one(tmp_path / "state.db"):
        for attempt in attempts:
            with pytest.raises(Unavailable) as caught:
                attempt()
            assert caught.value.reason == "state_file_replaced"
    assert edge_state.read_and_count(six, calls()).signing_keys
