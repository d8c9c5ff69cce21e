"""DynamoDB goes wrong half-way: what meets another, what is left unread, what was done though nobody heard of it."""

from __future__ import annotations

import functools
import itertools
import json
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib import quota
from chalicelib.audit import Event, Query
from chalicelib.aws.counter_items import items
from chalicelib.aws.dynamodb import TRANSACTION_SECONDS
from chalicelib.errors import Refusal, StateUncertain, Unavailable
from chalicelib.quota import WINDOWS
from chalicelib.revocation import RevocationTarget
from tests.contracts import samples
from tests.contracts.dynamodb_adapters import locked_moto
from tests.contracts.samples import NOW, SIX, SUB, calls, jti_of, new_id
from tests.dynamodb_stage import PORTS, TRANSACTING, Stage, patiently, settle, stage
from tests.every_event import every_event
from tests.faulty_dynamodb import (
    Fault,
    Turn,
    answers,
    answers_too_late,
    error,
    from_the,
    hangs,
    leaves_unread,
    loses_its_answer,
    serves,
    transacts,
    where,
)

pytestmark = pytest.mark.slow  # most of them wait for a retry or a time-out
BATCHING = "find find_named read_and_count keys uses uses_of recent_calls exchange admit apply".split()  # noqa: SIM905  a list of words
BOUND = TRANSACTION_SECONDS + 6.0
"""Seconds within which anything gives up on a busy machine: a read, TRANSACTION_SECONDS, and the last try."""

CONFLICT = error(
    "TransactionCanceledException", CancellationReasons=[{"Code": "None"}, {"Code": "TransactionConflict"}]
)


@pytest.fixture(scope="module", params=["botocore", "edge_client"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One stage for all, with each of the edge's clients in turn."""
    with stage(tmp_path_factory.mktemp("keys"), lean=request.param == "edge_client") as one:
        yield one


@pytest.fixture
def here(shared: Stage) -> Stage:
    """The stage with a fresh token, something to be lifted, and as many calls left as there are in a day."""
    shared.token = patiently(shared.issued)
    shared.hold()
    _leave(shared, 1000)
    return shared


def _refused(act: Callable[[], object]) -> Unavailable:
    started = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        act()
    assert time.monotonic() - started < BOUND
    assert (caught.value.status, caught.value.retry_after) == (503, 1)
    return caught.value


def _issued(here: Stage) -> list[Event]:
    return [
        one
        for one in every_event(here.adapters.ledger, Query(since=NOW, until=NOW + 1, limit=200))
        if one.kind == "token.issued"
    ]


def _tokens(here: Stage, name: str = "ci") -> set[int]:
    return {here.adapters.counted(one)[0] for one in quota.counters("tokens", name, SUB, NOW)}


class TestConflict:
    """A transaction meets another."""

    def test_it_is_tried_again_and_done_once_the_other_has_ended(self, here: Stage) -> None:
        tries = {port: patiently(functools.partial(self._transactions, here, port)) for port in TRANSACTING}
        assert tries == dict.fromkeys(TRANSACTING, 3)

    def _transactions(self, here: Stage, port: str) -> int:
        with here.door.failing(where(transacts, from_the(1, CONFLICT, 2))) as arrived:
            PORTS[port](here)
            return arrived.count("TransactWriteItems")

    def test_it_is_tried_again_after_pauses_of_different_lengths(self, here: Stage) -> None:
        times: list[float] = []

        def note(turn: Turn) -> None:
            times.append(time.monotonic())
            (CONFLICT if len(times) < 12 else serves)(turn)

        with here.door.failing(note):
            patiently(lambda: PORTS["issue"](here))
        pauses = [after - before for before, after in itertools.pairwise(times)]
        assert min(pauses) >= 0.01
        assert max(pauses) - min(pauses) > 0.03

    def test_an_endless_answer_is_given_up(self, here: Stage) -> None:
        """All ports give up on an answer that never ends, in time, and have changed nothing."""
        before = here.content()
        with here.door.failing(where(transacts, CONFLICT)) as arrived, ThreadPoolExecutor(len(TRANSACTING)) as pool:
            for done in [pool.submit(_refused, functools.partial(PORTS[port], here)) for port in TRANSACTING]:
                done.result(BOUND + 2)
        assert here.content() == before
        assert arrived.count("TransactWriteItems") >= 5 * len(TRANSACTING)

    @pytest.mark.parametrize("code", ["ThrottlingError", "ProvisionedThroughputExceeded", "ValidationError"])
    def test_other_cancellations_are_not_retried(self, here: Stage, code: str) -> None:
        """A transaction cancelled for anything but a conflict is not retried."""
        cancelled = error("TransactionCanceledException", CancellationReasons=[{"Code": code}])
        with here.door.failing(cancelled) as arrived:
            _refused(lambda: PORTS["issue"](here))
        assert arrived == ["TransactWriteItems"]


class TestUnread:
    """DynamoDB serves a part of a batch."""

    def _refused_as_unread(self, act: Callable[[], object]) -> None:
        for _ in range(9):  # a busy machine may be too slow for anything to be read
            with pytest.raises(Unavailable) as caught:
                act()
            if caught.value.reason == "state_unread":
                return
        raise AssertionError("it was refused for something else")

    @pytest.mark.parametrize("scope", SIX)
    def test_a_call_is_refused_whichever_of_the_six_was_left_unread(self, here: Stage, scope: str) -> None:
        patiently(lambda: here.admit(here.token))
        with here.blocked(scope, jti_of(here.token) if scope == "token" else SIX[scope].id):
            with here.door.failing(leaves_unread(lambda partition: partition.startswith(f"{scope}#"))):
                self._refused_as_unread(lambda: here.admit(here.token))
            with pytest.raises(Refusal, match=f"revoked_{scope}"):
                patiently(lambda: here.admit(here.token))

    @pytest.mark.parametrize("port", BATCHING)
    def test_an_unread_key_is_refused(self, here: Stage, port: str) -> None:
        """If any key of a batch was left unread, the port that reads it refuses."""
        asked: list[str] = []

        def note(partition: str) -> bool:
            asked.append(partition)
            return False

        with here.door.failing(leaves_unread(note)):
            patiently(lambda: PORTS[port](here))
        for one in set(asked):
            with here.door.failing(leaves_unread(lambda partition, one=one: partition == one)):  # type: ignore[misc]
                self._refused_as_unread(lambda: PORTS[port](here))
            settle()
        assert asked


def _lose(
    here: Stage, act: Callable[[], object], lost: Fault = loses_its_answer, of: Callable[[Turn], bool] = transacts
) -> None:
    """Do something whose transaction is not answered; again, where a busy machine has not even come to it."""
    came: list[Turn] = []

    def loses(turn: Turn) -> None:
        came.append(turn)
        lost(turn)

    with here.door.failing(where(of, loses)):
        for _ in range(9):
            _refused(act)
            settle()
            if came:
                return
    raise AssertionError("it has never come to that")


LOST = pytest.mark.parametrize("lost", [loses_its_answer, answers_too_late])


class TestLost:
    """Something was done, and the answer never came."""

    @LOST
    def test_an_unanswered_token_is_had_by_a_retry(self, here: Stage, lost: Fault) -> None:
        """A token whose transaction was not answered is not issued, and a retry gets it."""
        subject_token, key, before, taken = here.subject_token(), "k" * 22, _issued(here), _tokens(here)
        ask = functools.partial(here.exchange, subject_token, "ci", idempotency_key=key)
        _lose(here, ask, lost)
        [written] = {one.jti for one in _issued(here)} - {one.jti for one in before}
        assert _tokens(here) == {count + 1 for count in taken}
        for _ in range(2):
            assert jti_of(patiently(ask)) == written
        assert len(_issued(here)) == len(before) + 1
        assert _tokens(here) == {count + 1 for count in taken}

    def test_an_unanswered_token_is_lost_without_a_key(self, here: Stage) -> None:
        """Without an Idempotency-Key, a token that was not answered cannot be had again."""
        subject_token = here.subject_token()
        _lose(here, lambda: here.exchange(subject_token, "ci"))
        with pytest.raises(Refusal, match="replayed"):
            patiently(lambda: here.exchange(subject_token, "ci"))

    @pytest.mark.parametrize(
        ("fault", "uncertain"),
        [
            (loses_its_answer, True),
            (answers_too_late, True),
            (error("InternalServerError", 500), True),
            (answers(502, "<html>Bad Gateway</html>"), True),
            (answers(200, "{"), True),
            (error("TransactionInProgressException"), True),
            (error("ThrottlingException"), False),
            (error("AccessDeniedException"), False),
        ],
    )
    def test_a_lost_commit_is_said_to_be_uncertain(self, here: Stage, fault: Fault, uncertain: bool) -> None:  # noqa: FBT001  a parameter
        """A write that may have happened is refused as one that may be in force; one that DynamoDB refused, as it was."""
        for port in ("revoke", "restore", "set_key", "pin", "issue", "revoke_own_token"):
            here.hold()
            with here.door.failing(where(transacts, fault)) as arrived, pytest.raises(Unavailable) as caught:
                PORTS[port](here)
            settle()
            if "TransactWriteItems" in arrived:  # a busy machine may not have come to it
                assert isinstance(caught.value, StateUncertain) is uncertain, port
                assert ("may or may not be in force: look, or repeat it" in caught.value.description) is uncertain

    def test_what_was_never_sent_is_certain(self, here: Stage) -> None:
        """With nothing listening, no write is uncertain."""
        with here.door.gone(), pytest.raises(Unavailable) as caught:
            PORTS["issue"](here)
        assert not isinstance(caught.value, StateUncertain)

    @LOST
    def test_an_unanswered_revocation_is_in_force(self, here: Stage, lost: Fault) -> None:
        """A revocation that was not answered is in force, and repeating it changes nothing."""
        made = samples.revocation("principal", new_id())
        target = RevocationTarget("principal", made.target)
        revoke = functools.partial(here.adapters.control.revoke, made)
        _lose(here, lambda: revoke(samples.event("revocation.made")), lost)
        before = here.past.revocation_state(target)
        assert (before.blocked(NOW), before.epoch) == (True, 1)
        assert patiently(lambda: revoke(samples.event("revocation.made"))) == made
        assert here.past.revocation_state(target) == before

    def test_an_unanswered_restore_is_done(self, here: Stage) -> None:
        """A restore that was not answered is done, and repeating it changes nothing."""
        made = here.held
        _lose(here, lambda: here.restore(made))
        before = here.content()
        lifted = patiently(lambda: here.restore(made))
        assert lifted is not None
        assert (lifted.id, lifted.lifted_at) == (made.id, NOW)
        assert here.content() == before

    def test_an_apply_done_in_part_is_uncertain(self, here: Stage) -> None:
        """An apply that is throttled while it writes the policy says that it may be in force, and repeating finishes it."""
        lanes = where(transacts, from_the(4, error("ThrottlingException")))
        with here.door.failing(lanes), pytest.raises(StateUncertain):
            here.apply()
        settle()
        version = here.version()
        patiently(here.apply)
        assert here.version() > version  # more than one, if a busy machine lost an answer

    def test_an_unanswered_apply_is_in_force(self, here: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        """An apply whose last write was not answered is in force, and repeating it says so."""
        version = here.version()
        _lose(here, here.apply, of=lambda turn: transacts(turn) and "REMOVE pending" in json.dumps(turn.body))
        assert here.version() == version + 1
        monkeypatch.setattr(here, "version", lambda: version)
        with pytest.raises(Refusal, match="policy_changed"):
            patiently(here.apply)

    @LOST
    def test_an_unanswered_count_is_refused(self, here: Stage, lost: Fault) -> None:
        """A call whose counting was not answered is refused, and its number is never given out."""
        _leave(here, 2)
        with here.door.failing(where(lambda turn: turn.operation == "UpdateItem", lost)) as arrived:
            _refused(lambda: here.admit(here.token))
            settle()
        counted, _ = here.adapters.counted(calls()[2])
        assert 998 + arrived.count("UpdateItem") - 1 <= counted <= 999
        assert _admitted(here, 3) <= 1000 - counted


def _leave(here: Stage, left: int) -> None:
    """Let so many more calls be made today."""
    _, day = items(calls())
    locked_moto().update_item(
        TableName=here.tables.counters,
        Key=dict(day.key),
        UpdateExpression="SET d = :taken",
        ExpressionAttributeValues={":taken": {"N": str(1000 - left)}},
    )


def _admitted(here: Stage, tries: int) -> int:
    """Make calls; return how many were admitted. The others were one too many."""
    admitted = 0
    for _ in range(tries):
        try:
            patiently(lambda: here.admit(here.token))
            admitted += 1
        except Refusal as refusal:
            assert refusal.reason == "quota_calls"  # noqa: PT017  either outcome may be right
    return admitted


class TestGiveBack:
    """A refused call's number cannot be given back."""

    @pytest.mark.parametrize(
        ("fault", "of", "wasted"),
        [
            (hangs, "", WINDOWS),
            (error("ThrottlingException"), "", WINDOWS),
            (error("ThrottlingException"), "day", ["day"]),
            (error("InternalServerError", 500), "hour", ["minute", "hour"]),
        ],
    )
    def test_a_call_half_counted_is_refused(self, here: Stage, fault: Fault, of: str, wasted: Collection[str]) -> None:
        """The call is refused, its number is lost, and never more than the limit are admitted."""

        def gives_back(turn: Turn) -> bool:
            back = turn.operation == "UpdateItem" and "ConditionExpression" in turn.body
            return back and turn.body["Key"]["sk"]["S"].startswith(of)

        _leave(here, 0)
        counters = [one for one in calls() if one.window in wasted]
        before = [here.adapters.counted(one)[0] for one in counters]
        for _ in range(9):
            _lose(here, lambda: here.admit(here.token), fault, gives_back)
            lost = [here.adapters.counted(one)[0] > then for one, then in zip(counters, before, strict=True)]
            if all(lost):  # a busy machine may have come to one window's write alone
                break
        assert all(lost)
        assert _admitted(here, 2) == 0
