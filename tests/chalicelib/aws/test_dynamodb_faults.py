"""DynamoDB out of reach, slow or refusing: every port refuses in a bounded time, nothing happens, and it works again."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chalicelib.aws.round_trip import CONNECTIONS
from chalicelib.errors import Unavailable
from tests.chalicelib.issuers.test_fetch import certificate
from tests.contracts.dynamodb_adapters import edge_state_of
from tests.contracts.samples import SUB, calls
from tests.dynamodb_stage import PORTS, SOME, TRANSACTING, Stage, patiently, settle, stage
from tests.faulty_dynamodb import (
    Answer,
    Fault,
    Turn,
    answers,
    door,
    error,
    from_the,
    hangs,
    tables_behind,
    transacts,
    where,
)

pytestmark = pytest.mark.slow  # most of them wait for a time-out

BOUND = 8.0
"""Seconds within which a port gives up, on a busy machine: a request has one, and some ports make two, one after another.

What hangs does so for good, and what drips for ten seconds and more.
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One stage for all: what is out of reach changes nothing."""
    with stage(tmp_path_factory.mktemp("keys")) as one:
        yield one


def _drips(turn: Turn, sent: int) -> None:
    raw = Answer(200, b'{"Responses": {}, "Attributes": {}, "Items": []}').packed()
    turn.wfile.write(raw[:sent])
    for byte in raw[sent:]:
        if not turn.rest(0.25):
            break
        turn.wfile.write(bytes([byte]))
    turn.hang_up()


def drips_from_the_first_byte(turn: Turn) -> None:
    _drips(turn, 0)


def drips_from_the_body_on(turn: Turn) -> None:
    _drips(turn, -40)


def _ends_amid_its_answer(turn: Turn, *, reset: bool) -> None:
    turn.wfile.write(Answer(200, b'{"Responses": {}}').packed()[:-9])
    turn.hang_up(reset=reset)


REFUSALS: dict[str, Fault] = {
    "500": error("InternalServerError", 500),
    "503": error("ServiceUnavailable", 503),
    "502 of a proxy": answers(502, "<html>Bad Gateway</html>"),
    "500 empty": answers(500, ""),
    "500 no object": answers(500, '["what"]'),
    "no JSON": answers(200, "<html>Welcome to the hotel</html>"),
    "no text": answers(200, b"\xff\xfe\xfd"),
    "no object": answers(200, '["what"]'),
    "empty": answers(200, ""),
    "checksum": lambda turn: turn.send(Answer(200, b'{"Responses": {}, "Items": []}', "x-amz-crc32: 1\r\n")),
    "ends amid its answer": functools.partial(_ends_amid_its_answer, reset=False),
    "resets amid its answer": functools.partial(_ends_amid_its_answer, reset=True),
    "hangs up": Turn.hang_up,
    **{
        code: error(code)
        for code in (
            "AccessDeniedException",
            "ResourceNotFoundException",
            "ExpiredTokenException",
            "ProvisionedThroughputExceededException",
            "ThrottlingException",
            "RequestLimitExceeded",
            "TransactionConflictException",
            "TransactionInProgressException",
            "IdempotentParameterMismatchException",
        )
    },
}


def _refuses(act: Callable[[Stage], object], here: Stage) -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        act(here)
    assert time.monotonic() - started < BOUND
    assert (caught.value.status, caught.value.retry_after) == (503, 1)


@contextlib.contextmanager
def _saying(name: str) -> Iterator[None]:
    """Have a failure say which one of several it was."""
    try:
        yield
    except BaseException as failure:
        failure.add_note(f"that was {name!r}")
        raise


def _all_refuse(acts: Iterable[Callable[[Stage], object]], here: Stage) -> None:
    """Try all at once, each on a thread of its own."""
    tried = list(acts)
    with ThreadPoolExecutor(len(tried)) as pool:
        for done in [pool.submit(_refuses, act, here) for act in tried]:
            done.result(BOUND + 2)


@pytest.mark.parametrize("port", PORTS)
def test_a_refusing_store_is_refused(here: Stage, port: str) -> None:
    """If the store refuses or answers nonsense, every port refuses, changes nothing, and works again afterwards."""
    before = here.content()
    with here.door.failing(hangs):
        for name, here.door.fault in REFUSALS.items():
            with _saying(name):
                _refuses(PORTS[port], here)
        settle()
    assert here.content() == before
    patiently(lambda: PORTS[port](here))


def _holds(turn: Turn) -> bool:
    """Whether the answer to a request must hold something: `{}` is a write's whole answer, and a missing item's."""
    return turn.operation in ("BatchGetItem", "Query") or "ReturnValues" in turn.body


@pytest.mark.parametrize("body", ["{}", '{"Responses": null, "Items": null, "Attributes": {}}'])
def test_an_answer_without_what_it_must_hold_is_refused(here: Stage, body: str) -> None:
    """A port that gets 200 without what it asked for refuses, admits nothing, and works again afterwards."""
    refused = set[str]()
    for name, act in PORTS.items():
        empty: list[str] = []

        def note(turn: Turn, empty: list[str] = empty) -> None:
            empty.append(turn.operation)
            answers(200, body)(turn)

        with _saying(name), here.door.failing(where(_holds, note)):
            try:
                act(here)
                assert not empty
            except Unavailable:
                refused.add(name)
        settle()
    assert {"find", "page", "read_and_count", "count", "revocations", "keys", "uses", "exchange", "admit"} <= refused
    for port in SOME:
        patiently(functools.partial(PORTS[port], here))


def test_an_absent_store_is_refused(here: Stage) -> None:
    """With nothing listening, every port refuses, changes nothing, and works again afterwards."""
    before = here.content()
    with here.door.gone():
        for name, act in PORTS.items():
            with _saying(name):
                _refuses(act, here)
        settle()
    assert here.content() == before
    for act in PORTS.values():
        patiently(functools.partial(act, here))


@pytest.mark.parametrize("fault", [hangs, drips_from_the_first_byte, drips_from_the_body_on])
def test_a_slow_store_is_refused_in_time(here: Stage, fault: Fault) -> None:
    """While the store is slow, every port refuses in time, changes nothing, and works again afterwards."""
    before = here.content()
    with here.door.failing(fault):
        _all_refuse(PORTS.values(), here)
        settle()
    assert here.content() == before
    for port in SOME:
        patiently(functools.partial(PORTS[port], here))


@pytest.mark.slow
@pytest.mark.parametrize("fault", [hangs, drips_from_the_first_byte])
def test_stuck_round_trips_delay_no_other(here: Stage, fault: Fault) -> None:
    """Forty stuck round trips are refused, and leave nothing behind that delays the next one."""
    snapshot = PORTS["read_and_count"]
    with here.door.failing(fault) as arrived:
        _all_refuse([snapshot] * 40, here)
    assert len(arrived) <= 2 * CONNECTIONS, (
        "a request that was waiting for a thread when its round trip ended is not sent"
    )
    healed, tries = time.monotonic(), 0
    while True:
        tries += 1
        try:
            snapshot(here)
            break
        except Unavailable:
            assert time.monotonic() - healed < BOUND
    settle()
    most = 3 * CONNECTIONS + (tries + 1) * _REQUESTS  # on a busy machine each thread may have had one in hand just then
    assert len(here.door.arrived) <= most < 40 * _REQUESTS, "nor is what was under way, but for one"


_REQUESTS = 6
"""What one read and count makes at most: a batch and its repetition, two counts, and each of them given back."""


_THROTTLED = ("ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded")


def _throttled_at(number: int, act: Callable[[Stage], object], here: Stage) -> bool:
    """Do something while one request is throttled; whether it came to that request, and then it was refused."""
    code = _THROTTLED[number % len(_THROTTLED)]
    for _ in range(9):
        with here.door.failing(from_the(number, error(code), number)) as arrived:
            try:
                act(here)
                refused = False
            except Unavailable:
                refused = True
            settle()
        if refused is (len(arrived) >= number):
            return refused
    raise AssertionError(
        f"request {number} was throttled and it was {'' if refused else 'not '}refused, after {arrived}"
    )


@pytest.mark.slow
@pytest.mark.parametrize("port", sorted(set(PORTS) - {"apply", "give_back", "lean_give_back"}))
def test_a_throttled_port_writes_only_counts(here: Stage, port: str) -> None:
    """Throttled at any of its requests, a port refuses and writes nothing but counts."""
    here.hold()
    before = here.content(here.tables.control, here.tables.ledger)
    number = 1
    while _throttled_at(number, PORTS[port], here):
        assert here.content(here.tables.control, here.tables.ledger) == before
        number += 1
    assert 1 < number < 11


def test_a_throttled_apply_is_finished(here: Stage) -> None:
    """Throttled at any of its requests, an apply is finished by repeating it."""
    number, version = 1, here.version()
    while _throttled_at(number, Stage.apply, here):
        assert here.version() == version
        number += 1
    assert here.version() == version + 1
    assert 5 < number < 30


@pytest.mark.slow
@pytest.mark.parametrize("client", ["edge", "botocore"])
def test_over_tls_what_is_slow_is_given_up_as_it_is_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    file = certificate(tmp_path, "localhost")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(file))
    with door(file) as opened, tables_behind(opened) as tables:
        edge_state = edge_state_of(tables, opened.edge_client if client == "edge" else None)
        for fault in (hangs, drips_from_the_first_byte, drips_from_the_body_on):
            started = time.monotonic()
            with opened.failing(fault), pytest.raises(Unavailable):
                edge_state.count(calls())
            assert time.monotonic() - started < BOUND
            settle()
            assert time.monotonic() - started < BOUND
        assert set(patiently(lambda: edge_state.count(calls())).values()) <= {1, 2, 3}


class TestSink:
    """What happened cannot be recorded, so it did not happen."""

    @pytest.mark.parametrize("fault", [hangs, error("AccessDeniedException"), error("ResourceNotFoundException")])
    def test_nothing_is_done_without_the_audit(self, here: Stage, fault: Fault) -> None:
        """Without the audit's table nothing is issued, revoked or refused for good."""
        before = here.content()
        ports = ("exchange", "exchange_unnamed", "exchange_iam", "refuse", "revoke", "revoke_named", "set_key", "pin")
        with here.door.failing(where(lambda turn: here.tables.ledger in json.dumps(turn.body), fault)):
            _all_refuse([PORTS[port] for port in ports], here)
            settle()
        assert here.content() == before

    @pytest.mark.parametrize("fault", [hangs, error("ThrottlingException")])
    def test_a_failed_transaction_leaves_nothing(self, here: Stage, fault: Fault) -> None:
        """A transaction that cannot be written leaves nothing behind."""
        here.hold()
        before = here.content()
        with here.door.failing(where(transacts, fault)):
            _all_refuse([PORTS[port] for port in TRANSACTING], here)
        assert here.content() == before

    def test_a_revocation_that_cannot_be_recorded_is_not_in_force(self, here: Stage) -> None:
        with here.door.failing(where(transacts, error("ThrottlingException"))):
            _refuses(lambda one: one.revoke("principal", SUB), here)
        patiently(lambda: here.admit(here.token))

    def test_keys_are_shown_only_if_recorded(self, here: Stage) -> None:
        """An administrator who lists the keys is shown nothing unless that is recorded."""
        with here.door.failing(where(lambda turn: turn.operation == "PutItem", error("ThrottlingException"))):
            _refuses(PORTS["keys"], here)
