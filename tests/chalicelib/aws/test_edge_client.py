"""The edge's own client: what it sends once, what it sends again, and what it takes for an answer."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
from typing import Any

import pytest

from chalicelib.aws import connection, round_trip
from chalicelib.aws.edge_client import EdgeClient, from_environment
from chalicelib.aws.idle import IDLE_SECONDS
from chalicelib.aws.round_trip import RequestFailed, Steps, ask
from chalicelib.aws.sigv4 import Credentials
from chalicelib.errors import StateUnavailable, StateUnread
from tests.faulty_dynamodb import Answer, Door, Fault, Turn, answers, error, hangs

NOW = 1_790_000_000.0
GOOD = answers(200, '{"Item": {}}')
CREDENTIALS = Credentials("AKIDEXAMPLE", "made-up", "made-up-too")


def get() -> Steps[Any]:
    return ask("GetItem", TableName="t", Key={"pk": {"S": "a"}})


def count() -> Steps[Any]:
    return ask("UpdateItem", TableName="t", Key={"pk": {"S": "a"}})


def run(client: EdgeClient, *calls: Steps[Any], seconds: float = 5.0) -> Sequence[Any]:
    return client.run(calls, seconds, round_trip.NO_UNDO)


@pytest.fixture
def client(opened: Door) -> Iterator[EdgeClient]:
    """A client of what is behind the door, whose clock stands at NOW."""
    made = client_of(opened)
    yield made
    made.close()


def client_of(opened: Door, credentials: Callable[[], Credentials | None] = lambda: CREDENTIALS) -> EdgeClient:
    at = opened.edge_client._endpoints
    return EdgeClient(at, credentials, lambda: NOW)


def failed(client: EdgeClient, *calls: Steps[Any]) -> str:
    with pytest.raises(RequestFailed) as caught:
        run(client, *calls)
    return caught.value.code


# What is sent again


def hangs_up_after(number: int) -> Fault:
    """Answer so many requests, and hang up at the next without an answer; a fresh connection is answered again."""
    seen: list[int] = []

    def fault(turn: Turn) -> None:
        seen.append(1)
        (Turn.hang_up if len(seen) == number + 1 else GOOD)(turn)

    return fault


def test_a_read_is_repeated_once(opened: Door, client: EdgeClient) -> None:
    """A read that a kept connection loses is repeated on a fresh one."""
    with opened.failing(hangs_up_after(1)) as arrived:
        run(client, get())
        assert run(client, get()) == [{"Item": {}}]
    assert arrived == ["GetItem"] * 3


def test_a_fresh_connection_is_not_repeated(opened: Door, client: EdgeClient) -> None:
    with opened.failing(hangs_up_after(0)) as arrived:
        assert failed(client, get()) == "NoAnswer"
    assert arrived == ["GetItem"]


def test_a_count_is_sent_once(opened: Door, client: EdgeClient) -> None:
    """A count that a kept connection loses is not sent again, for it may have been made."""
    with opened.failing(hangs_up_after(1)) as arrived:
        run(client, count())
        assert failed(client, count()) == "NoAnswer"
    assert arrived == ["UpdateItem"] * 2


def test_a_dead_connection_is_not_used(opened: Door, client: EdgeClient) -> None:
    """A count goes over a fresh connection when the kept one was closed meanwhile."""
    with opened.failing(GOOD):
        run(client, get())
    (kept,) = client._kept["dynamodb"]
    with opened.gone():
        assert connection._ready(kept._socket) or _soon(lambda: connection._ready(kept._socket))
    with opened.failing(GOOD) as arrived:
        assert run(client, count()) == [{"Item": {}}]
    assert arrived == ["UpdateItem"]


def _soon(holds: Callable[[], bool]) -> bool:
    ends = time.monotonic() + 5
    while not holds() and time.monotonic() < ends:
        threading.Event().wait(0.005)
    return holds()


def test_an_idle_connection_is_not_used(opened: Door, client: EdgeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was idle for seconds, by either clock, is closed and not used."""
    with opened.failing(GOOD):
        run(client, get())
        for clock in range(2):
            (kept,) = client._kept["dynamodb"]
            late = [IDLE_SECONDS * (index == clock) for index in range(2)]
            used = tuple(one - more for one, more in zip(kept._used, late, strict=True))
            monkeypatch.setattr(kept, "_used", used)
            run(client, get())
            assert kept not in client._kept["dynamodb"]
            assert kept._socket.fileno() == -1


def test_a_connection_is_kept(opened: Door, client: EdgeClient) -> None:
    with opened.failing(GOOD):
        run(client, get(), get(), get())
        before = set(client._kept["dynamodb"])
        run(client, get(), get(), get())
    assert (len(before), set(client._kept["dynamodb"])) == (3, before)


# The clock


def wrong_time(code: str, date: float, seen: list[str]) -> Fault:
    def fault(turn: Turn) -> None:
        seen.append(turn.headers["x-amz-date"])
        said = json.dumps({"__type": f"com.amazon.coral.service#{code}", "message": "as the test wants it"}).encode()
        right = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(date))
        header = f"date: {formatdate(date, usegmt=True)}\r\n"
        turn.send(Answer(200, b"{}", header) if seen[-1] == right else Answer(400, said, header))

    return fault


@pytest.mark.parametrize("code", ["InvalidSignatureException", "RequestTimeTooSkewed"])
@pytest.mark.parametrize("off", [-3600, 3600])
@pytest.mark.parametrize("asked", [get, count])
def test_a_wrong_clock_is_learnt_once(
    opened: Door, client: EdgeClient, code: str, off: int, asked: Callable[[], Steps[Any]]
) -> None:
    """What a clock that is an hour off has signed is not sent again; what follows has AWS's time."""
    seen: list[str] = []
    with opened.failing(wrong_time(code, NOW + off, seen)):
        assert failed(client, asked()) == code
        assert client.now() == NOW + off
        assert run(client, asked()) == [{}]
    assert len(seen) == 2


DAY = 86_400
IMPOSSIBLE = [
    "1 Jan 99999999999999 00:00:00 GMT",
    "1 Jan 2000 00:00:00 +99999999999999999999",
    formatdate(NOW + 2 * DAY),
]


@pytest.mark.parametrize("date", [*IMPOSSIBLE, formatdate(NOW - 2 * DAY), formatdate(253_402_300_799.0)])
def test_an_impossible_date_is_not_learnt(opened: Door, client: EdgeClient, date: str) -> None:
    """A date that no clock is off by is no fault of ours, and nothing is signed with it."""
    said = Answer(403, b'{"__type": "x#RequestTimeTooSkewed"}', f"date: {date}\r\n")
    with opened.failing(lambda turn: turn.send(said)) as arrived:
        assert failed(client, get()) == "RequestTimeTooSkewed"
    assert (arrived, client._skew) == (["GetItem"], 0.0)


@pytest.mark.parametrize("date", ["", f"date: {formatdate(NOW + 5)}\r\n", "date: the day before yesterday\r\n"])
def test_a_wrong_signature_is_no_wrong_clock(opened: Door, client: EdgeClient, date: str) -> None:
    """A signature refused at the right time is refused, once."""
    said = b'{"__type": "x#InvalidSignatureException"}'
    with opened.failing(lambda turn: turn.send(Answer(403, said, date))) as arrived:
        assert failed(client, get()) == "InvalidSignatureException"
    assert arrived == ["GetItem"]


# Credentials


def test_without_credentials_nothing_is_sent(opened: Door) -> None:
    with opened.failing(GOOD) as arrived, contextlib.closing(client_of(opened, credentials=lambda: None)) as client:
        assert failed(client, get()) == "NoCredentials"
    assert arrived == []


def test_credentials_are_read_at_each_call(opened: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []

    def note(turn: Turn) -> None:
        seen.append((turn.headers["authorization"].split("/")[0], turn.headers["x-amz-security-token"]))
        GOOD(turn)

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
    with opened.failing(note), contextlib.closing(client_of(opened, credentials=from_environment)) as client:
        for name in ("ONE", "TWO"):
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
            monkeypatch.setenv("AWS_SESSION_TOKEN", f"token-{name}")
            run(client, get())
    assert seen == [(f"AWS4-HMAC-SHA256 Credential={name}", f"token-{name}") for name in ("ONE", "TWO")]


def test_no_session_token_is_no_header(opened: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials without a session token sign without one; half of credentials are none."""
    seen: list[str | None] = []

    def note(turn: Turn) -> None:
        seen.append(turn.headers["x-amz-security-token"])
        GOOD(turn)

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    with opened.failing(note), contextlib.closing(client_of(opened, credentials=from_environment)) as client:
        run(client, get())
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "")
        assert failed(client, get()) == "NoCredentials"
    assert seen == [None]


def test_expired_credentials_are_named(opened: Door, client: EdgeClient) -> None:
    """The refusal has AWS's word and nothing else of what it says."""
    with opened.failing(error("ExpiredTokenException")), pytest.raises(StateUnavailable) as caught:
        round_trip.make(client, get())
    assert caught.value.log_fields()["cause"] == "ExpiredTokenException"


# What an answer says


def test_an_answer_with_the_right_checksum_is_taken(opened: Door, client: EdgeClient) -> None:
    with opened.failing(lambda turn: turn.send(Answer(200, b"{}", "x-amz-crc32: 2745614147\r\n"))):
        assert run(client, get()) == [{}]


def test_an_answer_of_another_table_is_refused(opened: Door, client: EdgeClient) -> None:
    wanted = {"control": [{"pk": {"S": "a"}, "sk": {"S": "-"}}]}
    with opened.failing(answers(200, '{"Responses": {"other": []}}')), pytest.raises(StateUnread):
        round_trip.make(client, round_trip.batch(wanted))


ITEMS: list[object] = [
    7,
    None,
    {},
    "text",
    [7],
    [None],
    [{}],
    [{"pk": {"S": "another"}, "sk": {"S": "-"}}],
    [{"pk": {"S": "a"}, "sk": {"S": "another"}}],
    [{"pk": 7, "sk": {"S": "-"}}],
    [{"pk": {"N": "1"}, "sk": {"S": "-"}}],
]


@pytest.mark.parametrize("items", ITEMS)
def test_an_item_that_was_not_asked_for_is_refused(opened: Door, client: EdgeClient, items: object) -> None:
    """Another item, or what is none, does not read as one that is not there."""
    wanted = {"control": [{"pk": {"S": "a"}, "sk": {"S": "-"}}]}
    said = answers(200, json.dumps({"Responses": {"control": items}}))
    with opened.failing(said), pytest.raises(StateUnread):
        round_trip.make(client, round_trip.batch(wanted))


# Time, and what is undone


def test_a_late_answer_is_no_answer_of_the_next(opened: Door, client: EdgeClient) -> None:
    """A connection whose answer was not waited for is closed, so that nobody reads it."""
    with opened.failing(GOOD):
        run(client, get())
    with opened.failing(hangs), pytest.raises(TimeoutError):
        run(client, get(), seconds=0.05)
    assert not client._kept["dynamodb"]


def test_nothing_is_undone_twice(opened: Door, client: EdgeClient) -> None:
    """When one call fails, each other that was answered is taken back once, before it is said."""

    def fails(turn: Turn) -> None:
        (GOOD if turn.body["TableName"] == "t" else error("InternalServerError", 500))(turn)

    bad = ask("GetItem", TableName="other", Key={})
    undo = {index: ask("UpdateItem", TableName="t", Key={}, undo=index) for index in (1, 2)}
    with opened.failing(fails) as arrived, pytest.raises(RequestFailed):
        client.run((bad, count(), count()), 5.0, undo)
    assert arrived.count("UpdateItem") == 4


def test_what_has_no_answer_is_not_undone(opened: Door, client: EdgeClient) -> None:
    """A count whose answer is lost stays counted."""
    with opened.failing(Turn.hang_up) as arrived, pytest.raises(RequestFailed):
        client.run((count(),), 5.0, {0: count()})
    assert arrived == ["UpdateItem"]


def test_a_count_answered_late_is_undone(opened: Door, client: EdgeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A count that is answered after the end, but within the time for undoing, is taken back."""
    monkeypatch.setattr("chalicelib.aws.edge_client.UNDO_SECONDS", 5.0)
    over, seen = threading.Event(), list[str]()

    def late(turn: Turn) -> None:
        seen.append(turn.operation)
        if len(seen) == 1:
            over.wait(0.2)
        GOOD(turn)

    with opened.failing(late), pytest.raises(TimeoutError):
        client.run((count(),), 0.02, {0: count()})
    assert seen == ["UpdateItem"] * 2


def test_a_full_house_waits_no_longer_than_its_time(opened: Door, client: EdgeClient) -> None:
    client._free = 0
    with opened.failing(GOOD) as arrived, pytest.raises(TimeoutError):
        run(client, get(), seconds=0.02)
    assert (arrived, client._free) == ([], 0)
