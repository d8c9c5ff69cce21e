"""The zip when AWS, its credentials, its clock or its event are not as they should be: a 503 in time that says why, counted at most once."""

from __future__ import annotations

import calendar
import json
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest

from chalicelib.aws.published_keys import FAILURE_PAUSE
from chalicelib.aws.round_trip import CALL_SECONDS
from tests import aws_scenario
from tests.edge_zip.running import Behind, Running, behind
from tests.faulty_dynamodb import (
    Answer,
    Door,
    Fault,
    Turn,
    answers,
    answers_too_late,
    error,
    hangs,
    loses_its_answer,
    where,
)

pytestmark = pytest.mark.slow  # it is built, with all its wheels

HOUR = 3600.0


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    with behind(tmp_path_factory.mktemp("zip"), "faults") as one:
        yield one


@pytest.fixture(scope="module")
def edge(there: Behind) -> Iterator[Running]:
    with there.running() as one:
        assert "origin" in one.call(there.token())
        yield one


def cut_off(turn: Turn) -> None:
    """Begin an answer, and hang up."""
    whole = turn.served().packed()
    turn.wfile.write(whole[: len(whole) - 5])
    turn.hang_up()


def of_another_table(turn: Turn) -> None:
    turn.send(Answer(200, json.dumps({"Responses": {"another": []}, "UnprocessedKeys": {}}).encode()))


READING: dict[str, tuple[Fault, str, str]] = {
    "cut off": (cut_off, "state_unavailable", "NoAnswer"),
    "no JSON": (answers(200, "<html>hotel</html>"), "state_unavailable", "NoAnswer"),
    "another table": (of_another_table, "state_unread", ""),
    "4 MB": (answers(200, b'{"a": "' + b"x" * 2**22 + b'"}'), "state_unavailable", "NoAnswer"),
    "too late": (answers_too_late, "state_unavailable", "TimedOut"),
    "throttled": (error("ThrottlingException"), "state_unavailable", "ThrottlingException"),
    "expired": (error("ExpiredTokenException"), "state_unavailable", "ExpiredTokenException"),
}
"""What is wrong with the state's answer; the reason and the cause in the log."""


def refused(edge: Running, token: str) -> dict[str, Any]:
    """Make a call that must be a 503 in time; return its line in the log."""
    before, started = len(edge.log()), time.monotonic()
    result = edge.call(token)
    assert time.monotonic() - started < CALL_SECONDS + 1
    assert (result.get("status"), "origin" in result) == ("503", False)
    (line,) = edge.log()[before:]
    return line


def of_state(door: Door, fault: Fault) -> Any:  # noqa: ANN401  a context
    return door.failing(where(lambda turn: turn.operation == "BatchGetItem", fault))


@pytest.mark.parametrize("name", READING)
def test_an_unusable_answer_is_a_503(there: Behind, edge: Running, name: str) -> None:
    """What was counted beside an unusable answer is given back, and the next call goes on."""
    fault, reason, cause = READING[name]
    token = there.token()
    before, refusals = there.counted(token)
    with of_state(there.installed.door, fault):
        line = refused(edge, token)
    assert (line["reason"], line.get("cause", "")) == (reason, cause)
    assert there.counted(token) == (before, refusals + 1)
    assert "origin" in edge.call(token)
    assert there.counted(token) == (before + 1, refusals + 1)


@pytest.mark.parametrize(
    ("fault", "cause"), [(loses_its_answer, "NoAnswer"), (cut_off, "NoAnswer"), (answers_too_late, "TimedOut")]
)
def test_a_lost_count_is_counted_once(there: Behind, edge: Running, fault: Fault, cause: str) -> None:
    """A count whose answer is lost is not sent again, and stays."""
    token = there.token()
    before, _ = there.counted(token)
    counting = where(lambda turn: turn.operation == "UpdateItem", fault)
    with there.installed.door.failing(counting) as arrived:
        line = refused(edge, token)
        assert arrived.count("UpdateItem") == 2
    assert line["reason"] == "state_unavailable"
    assert line["cause"] in (cause, "NoConnection")
    assert there.counted(token)[0] <= before + 1


@pytest.mark.parametrize("operation", ["GetItem", "GetSecretValue"])
@pytest.mark.parametrize("fault", [hangs, cut_off, error("AccessDeniedException")])
def test_a_start_without_a_key_is_no_failure(there: Behind, operation: str, fault: Fault) -> None:
    """What the start or the first round trip does not get is asked for again, and a call that lacks it is a 503."""
    token = there.token()
    with there.installed.door.failing(where(lambda turn: turn.operation == operation, fault)), there.running() as edge:
        line = refused(edge, token)
        assert line["reason"] in ("state_unavailable", "signing_keys_unavailable", "provider_key_unavailable")
        there.installed.door.fault = lambda turn: turn.send(turn.served())
        edge.ahead += FAILURE_PAUSE + 1
        assert "origin" in edge.call(token)


def test_without_credentials_nothing_is_sent(there: Behind) -> None:
    token = there.token()
    before = there.counted(token)
    with there.running({}) as edge, there.installed.door.failing(answers(200, "{}")) as arrived:
        assert refused(edge, token)["cause"] == "NoCredentials"
        assert arrived == []
    assert there.counted(token) == before


def at(off: float) -> Fault:
    """Refuse what is signed at another time than AWS's, which is so far ahead of ours."""

    def fault(turn: Turn) -> None:
        right = time.time() + off
        signed = calendar.timegm(time.strptime(turn.headers["x-amz-date"], "%Y%m%dT%H%M%SZ"))
        if abs(signed - right) < 300:
            return turn.send(turn.served())
        said = json.dumps({"__type": "com.amazon.coral.service#RequestTimeTooSkewed"}).encode()
        return turn.send(Answer(403, said, f"date: {formatdate(right, usegmt=True)}\r\n"))

    return fault


def issued_at(there: Behind, moment: float) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: moment)
        return there.token()


def test_a_wrong_clock_admits_nothing(there: Behind, edge: Running) -> None:
    """A call under a clock an hour behind is a 503 that counts nothing; the next is judged and counted by AWS's time."""
    token, expired = there.token(), issued_at(there, time.time() - HOUR)
    before = there.counted(token)
    with there.installed.door.failing(at(0.0)):
        edge.ahead = -HOUR
        try:
            assert refused(edge, expired)["cause"] == "RequestTimeTooSkewed"
            assert there.counted(token) == before
            assert edge.call(expired)["status"] == "401"
            assert "origin" in edge.call(token)
        finally:
            edge.ahead = 0.0
        assert there.counted(token)[0] == before[0] + 1


@pytest.mark.parametrize("off", [-HOUR, HOUR])
def test_a_clock_an_hour_off_is_put_right(there: Behind, off: float) -> None:
    """What the start learns of AWS's time, the first call is judged by, though its own clock says another."""
    good, bad = issued_at(there, time.time() + off), there.token()
    before, _ = there.counted(good)
    with there.installed.door.failing(at(off)), there.running() as edge:
        assert "origin" in edge.call(good)
        assert edge.call(bad)["status"] == "401"
    assert there.counted(good)[0] == before + 1


MALFORMED: list[Callable[[dict[str, Any]], object]] = [
    dict.clear,
    lambda event: event.update(Records=[]),
    lambda event: event["Records"][0]["cf"].pop("request"),
    lambda event: event["Records"][0]["cf"]["request"].pop("headers"),
    lambda event: event["Records"][0]["cf"]["request"].update(uri=7),
    lambda event: event["Records"][0]["cf"]["request"].update(origin=None),
]


@pytest.mark.parametrize("spoil", MALFORMED)
def test_a_malformed_event_is_a_503(there: Behind, edge: Running, spoil: Callable[[dict[str, Any]], object]) -> None:
    """What is no event of CloudFront's is refused before anything is asked of AWS."""
    token = there.token()
    asked, lines = aws_scenario.edge_event(token), len(edge.log())
    spoil(asked)
    with there.installed.door.failing(answers(200, "{}")) as arrived:
        result = edge.handle(asked)
    assert (result["status"], arrived) == ("503", [])
    (line,) = edge.log()[lines:]
    assert line["reason"] == "event_malformed"
    assert token not in json.dumps(line)
