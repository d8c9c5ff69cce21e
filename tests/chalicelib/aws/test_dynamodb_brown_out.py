"""A brown-out of DynamoDB: calls are refused while it lasts, and what is known of them takes nothing of the quota."""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chalicelib import quota
from chalicelib.errors import Refusal, Unavailable
from chalicelib.quota import Limit
from tests.contracts.samples import NOW, calls, grant
from tests.dynamodb_stage import Stage, patiently, settle, stage
from tests.faulty_dynamodb import Fault, Turn, error, from_the, leaves_unread, loses_its_answer, serves, where

pytestmark = pytest.mark.slow  # a call that waits for a time-out, thirty times
LIMIT = 20
TRIES = 30

_RESETS = functools.partial(Turn.hang_up, reset=True)
REFUSES: dict[str, Fault] = {
    "throttles": error("ThrottlingException"),
    "resets": _RESETS,
    "fails": error("InternalServerError", 500),
}


@pytest.fixture(params=["botocore", "edge_client"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """A stage whose grant takes twenty calls an hour."""
    with stage(tmp_path, lean=request.param == "edge_client") as one:
        patiently(lambda: one.apply(grant(calls=(Limit(LIMIT, "hour"),))))
        one.token = patiently(one.issued)
        yield one


def adds(turn: Turn) -> bool:
    """Whether a request counts a call."""
    return turn.operation == "UpdateItem" and not gives_back(turn)


def gives_back(turn: Turn) -> bool:
    """Whether a request gives a number back."""
    return turn.operation == "UpdateItem" and "ConditionExpression" in turn.body


class BrownOut:
    """Goes wrong with three requests of ten. lost: how many were counted though nobody can know it."""

    def __init__(self, faults: list[Fault], spared: Callable[[Turn], bool]) -> None:
        self._faults, self._spared = faults, spared
        self._random, self._guard = random.Random(7), threading.Lock()
        self.lost = 0

    def __call__(self, turn: Turn) -> None:
        """Be what is wrong with the door."""
        with self._guard:
            fault = self._random.choice(self._faults) if self._random.random() < 0.3 else serves
        if self._spared(turn):
            fault = serves
        if fault is not serves and turn.operation == "UpdateItem" and (fault is loses_its_answer or gives_back(turn)):
            with self._guard:
                self.lost += 1
        fault(turn)


def _admitted(here: Stage, tries: int) -> int:
    """Make calls; return how many were admitted."""
    admitted = 0
    for _ in range(tries):
        try:
            here.admit(here.token)
            admitted += 1
        except Unavailable:
            settle()
    return admitted


def _admitted_after(here: Stage) -> int:
    """Make calls until the quota is used up; return how many were admitted."""
    for admitted in range(LIMIT + 1):
        try:
            patiently(lambda: here.admit(here.token))
        except Refusal as refusal:
            assert refusal.reason == "quota_calls"  # noqa: PT017  the other refusals are no end of it
            return admitted
    raise AssertionError("more than the limit were admitted")


def test_what_is_known_is_given_back(here: Stage) -> None:
    """After a brown-out of throttles, resets and partial batches, exactly as many are admitted as the limit says."""
    faults = [*REFUSES.values(), leaves_unread(lambda partition: partition.startswith("principal#"))]
    with here.door.failing(BrownOut(faults, spared=gives_back)):
        during = _admitted(here, TRIES)
    assert 0 < during < LIMIT
    assert during + _admitted_after(here) == LIMIT


def test_only_lost_answers_take_quota(here: Stage) -> None:
    """With lost answers too, and numbers that cannot be given back, as many are missing at most; never one too many."""
    brown_out = BrownOut([*REFUSES.values(), loses_its_answer], spared=lambda _turn: False)
    with here.door.failing(brown_out):
        during = _admitted(here, TRIES)
    assert brown_out.lost > 0
    assert LIMIT - brown_out.lost <= during + _admitted_after(here) <= LIMIT


def test_a_call_refused_for_the_state_is_counted_as_refused(here: Stage) -> None:
    """What is given back is counted as refused, for `state_unavailable`."""
    patiently(lambda: here.admit(here.token))
    before = [here.adapters.counted(one) for one in calls()]
    batches = where(lambda turn: turn.operation == "BatchGetItem", REFUSES["throttles"])
    with here.door.failing(batches) as arrived, pytest.raises(Unavailable):
        here.admit(here.token)
    settle()
    assert arrived.count("UpdateItem") == 4
    assert [here.adapters.counted(one) for one in calls()] == [(taken, refused + 1) for taken, refused in before]


def test_a_throttled_give_back_is_sent_once_more(here: Stage) -> None:
    """A number that was not given back because DynamoDB was too busy is given back at the second try."""
    patiently(lambda: here.admit(here.token))
    before = [here.adapters.counted(one)[0] for one in calls()]
    tried: list[str] = []

    def is_first(turn: Turn) -> bool:
        if not gives_back(turn):
            return turn.operation == "BatchGetItem"
        key = str(turn.body["Key"]["sk"]["S"])
        tried.append(key)
        return tried.count(key) == 1

    with here.door.failing(where(is_first, REFUSES["throttles"])) as arrived:
        with pytest.raises(Unavailable):
            here.admit(here.token)
        settle()
    assert arrived.count("UpdateItem") == 6
    assert [here.adapters.counted(one)[0] for one in calls()] == before


def test_a_late_total_is_given_back(here: Stage) -> None:
    """A total that is counted late and only in part takes nothing of the quota either."""
    patiently(lambda: here.apply(grant()._replace(total_limits=(Limit(LIMIT, "day"),))))
    patiently(lambda: here.admit(here.token))
    total = quota.counters("calls", "ci", quota.EVERYBODY, NOW)
    before = [here.adapters.counted(one)[0] for one in (*calls(), *total)]
    of_all = where(lambda turn: adds(turn) and _is_day_of_all(turn), REFUSES["throttles"])
    with here.door.failing(of_all), pytest.raises(Unavailable):
        here.admit(here.token)
    settle()
    assert [here.adapters.counted(one)[0] for one in (*calls(), *total)] == before


def _is_day_of_all(turn: Turn) -> bool:
    key = turn.body["Key"]
    return bool(key["pk"]["S"].endswith("#*") and key["sk"]["S"].startswith("day#"))


def test_what_was_left_unread_is_read_once_more(here: Stage) -> None:
    """A batch that DynamoDB serves in part is completed within the same call, and no other is sent a third time."""
    part = leaves_unread(lambda partition: partition.startswith("principal#"))

    def admitted() -> list[str]:
        batches = from_the(1, part, 1)
        with here.door.failing(where(lambda turn: turn.operation == "BatchGetItem", batches)) as arrived:
            here.admit(here.token)
        return arrived

    assert patiently(admitted).count("BatchGetItem") == 2
    with here.door.failing(part) as arrived, pytest.raises(Unavailable):
        here.admit(here.token)
    assert arrived.count("BatchGetItem") <= 2
