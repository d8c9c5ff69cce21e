"""In how many round trips each verb goes to DynamoDB, and with which requests, as DynamoDB itself sees them arrive."""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from chalicelib import quota
from chalicelib.aws.round_trip import THROTTLED
from chalicelib.errors import Refusal, Unavailable
from chalicelib.quota import Limit
from tests.contracts.samples import NOW, calls, grant
from tests.dynamodb_stage import PORTS, Stage, patiently, settle, stage
from tests.faulty_dynamodb import Fault, Turn, error, hangs, loses_its_answer, where

pytestmark = pytest.mark.slow  # moto copies a whole table for each transaction on it

_BATCH, _QUERY, _ADD, _TRANSACT = "BatchGetItem", "Query", "UpdateItem", "TransactWriteItems"
LINGER = 0.05
"""Seconds that a complete round trip waits for a request too many."""
PATIENCE = 0.8
"""Seconds that a request waits for the others of its round trip: they come at once, or it is answered without them."""

RoundTrip = Counter[str]


@pytest.fixture(scope="module", params=["botocore", "edge_client"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One stage for all, with each of the edge's clients in turn."""
    with stage(tmp_path_factory.mktemp("keys"), lean=request.param == "edge_client") as one:
        yield one


@pytest.fixture
def here(shared: Stage) -> Iterator[Stage]:
    """The stage under its ordinary policy, with fresh tokens."""
    shared.token, shared.capped = patiently(shared.issued), patiently(lambda: shared.issued("capped", "other"))
    before = shared.version()
    yield shared
    if shared.version() != before:
        patiently(lambda: shared.apply(grant()))


class RoundTrips:
    """Holds requests back until the whole round trip has arrived, so that one that waits for another's answer never comes.

    sizes: how many requests make each round trip. seen: which ones did.
    """

    def __init__(self, *sizes: int) -> None:
        self.seen: list[RoundTrip] = []
        self._sizes = sizes
        self._arrived = threading.Condition()
        self._open = False

    def hold(self, turn: Turn) -> None:
        """Be what is wrong with the door."""
        with self._arrived:
            if not self._open:
                self._open = True
                self.seen.append(Counter())
            snapshot, size = self.seen[-1], (*self._sizes, *[0] * len(self.seen))[len(self.seen) - 1]
            snapshot[turn.operation] += 1
            self._arrived.notify_all()
            self._arrived.wait_for(lambda: snapshot.total() >= size, PATIENCE)
        time.sleep(LINGER)
        with self._arrived:
            self._open = False
        turn.send(turn.served())


def _round_trips(here: Stage, act: Callable[[], object], *expected: RoundTrip) -> list[RoundTrip]:
    """Do something; return the round trips that it made. expected: so many requests are waited for."""

    def seen() -> list[RoundTrip]:
        round_trips = RoundTrips(*(one.total() for one in expected))
        with here.door.failing(round_trips.hold):
            act()
        return round_trips.seen

    return patiently(seen)


def _refused(act: Callable[[], object], reason: str) -> Callable[[], None]:
    def refused() -> None:
        with pytest.raises(Refusal) as caught:
            act()
        if isinstance(caught.value, Unavailable):
            raise caught.value
        assert caught.value.reason == reason

    return refused


READ, WRITE = RoundTrip([_BATCH]), RoundTrip([_TRANSACT])
SEARCH = READ + RoundTrip([_QUERY] * 3)
"""What is known, the candidates, and the tokens of the hour and of the day: of which grants is not known yet."""
CALL, CALL_TOTAL = READ + RoundTrip([_ADD] * 2), READ + RoundTrip([_ADD] * 4)
COUNTED = RoundTrip([_ADD] * 2)


class TestExchange:
    """Two round trips: what is read, then one transaction."""

    def test_with_a_named_grant_it_is_one_batch_then_one_transaction(self, here: Stage) -> None:
        assert _round_trips(here, lambda: here.exchange(grant="ci"), READ, WRITE) == [READ, WRITE]

    def test_unnamed_grant_is_one_round_trip(self, here: Stage) -> None:
        """Without a named grant, candidates and their counters are read in the same round trip."""
        assert _round_trips(here, here.exchange, SEARCH, WRITE) == [SEARCH, WRITE]

    def test_by_iam_it_is_the_same(self, here: Stage) -> None:
        assert _round_trips(here, lambda: here.exchange_iam("by-role"), READ, WRITE) == [READ, WRITE]
        assert _round_trips(here, here.exchange_iam, SEARCH, WRITE) == [SEARCH, WRITE]

    def test_a_refusal_after_verification_is_one_batch_then_its_record(self, here: Stage) -> None:
        assert _round_trips(here, here.refuse, READ, WRITE) == [READ, WRITE]

    def test_a_refused_transaction_is_a_third_trip(self, here: Stage) -> None:
        """What only the transaction refuses is recorded in a third round trip."""
        subject_token = here.subject_token()
        patiently(lambda: here.exchange(subject_token, "ci", idempotency_key="k" * 22))
        again = _refused(lambda: here.exchange(subject_token, "ci"), "replayed")
        assert _round_trips(here, again, READ, WRITE, WRITE) == [READ, WRITE, WRITE]

    def test_a_retry_that_is_answered_again_takes_no_more_round_trips(self, here: Stage) -> None:
        subject_token, key = here.subject_token(), "k" * 22
        ask = functools.partial(here.exchange, subject_token, "ci", idempotency_key=key)
        patiently(ask)
        assert _round_trips(here, ask, READ, WRITE) == [READ, WRITE]

    def test_unverified_leaves_no_record(self, here: Stage) -> None:
        """A refusal before verification is one batch read and leaves no record."""
        head, payload, _ = here.subject_token().split(".")
        forged = _refused(lambda: here.exchange(f"{head}.{payload}.{'A' * 86}", "ci"), "signature_wrong")
        assert _round_trips(here, forged, READ) == [READ]


class TestAdmission:
    """One round trip, and one more for a count that is given back."""

    def test_it_is_one_batch_and_two_additions_at_once(self, here: Stage) -> None:
        assert _round_trips(here, lambda: here.admit(here.token), CALL) == [CALL]

    def test_a_total_is_in_the_same_round_trip(self, here: Stage) -> None:
        """Under a total, a call is two additions more in the same round trip."""
        assert _round_trips(here, lambda: here.admit(here.capped, "other"), CALL_TOTAL) == [CALL_TOTAL]

    def test_a_refused_one_gives_its_numbers_back_in_one_wave_more(self, here: Stage) -> None:
        patiently(lambda: here.admit(here.token))
        patiently(lambda: here.apply(grant(calls=(Limit(here.adapters.counted(calls()[2])[0], "day"),))))
        refused = _refused(lambda: here.admit(here.token), "quota_calls")
        assert _round_trips(here, refused, CALL, COUNTED) == [CALL, COUNTED]

    def test_a_total_is_given_back_in_one_trip(self, here: Stage) -> None:
        """A call refused under a total gives all four numbers back in one round trip."""
        refused = _refused(lambda: here.admit(here.capped, "other"), "revoked_key")
        with here.blocked("key", "other"):
            assert _round_trips(here, refused, CALL_TOTAL, COUNTED + COUNTED) == [CALL_TOTAL, COUNTED + COUNTED]

    def test_a_late_total_is_one_trip_more(self, here: Stage) -> None:
        """A token from before its grant had a total takes one round trip more."""
        patiently(lambda: here.apply(grant()._replace(total_limits=(Limit(1000, "day"),))))
        assert _round_trips(here, lambda: here.admit(here.token), CALL, COUNTED) == [CALL, COUNTED]
        fresh = patiently(here.issued)
        assert _round_trips(here, lambda: here.admit(fresh), CALL_TOTAL) == [CALL_TOTAL]

    def test_several_limits_look_once_more(self, here: Stage) -> None:
        """Refused by one of several limits, a call looks once more whether there is room."""
        patiently(lambda: here.admit(here.token))
        taken = here.adapters.counted(calls()[2])[0]
        patiently(lambda: here.apply(grant(calls=(Limit(taken, "day"), Limit(taken + 9, "hour")))))
        refused = _refused(lambda: here.admit(here.token), "quota_calls")
        assert _round_trips(here, refused, CALL, COUNTED, READ) == [CALL, COUNTED, READ]

    def test_late_total_is_given_back(self, here: Stage) -> None:
        """Refused by a total counted late, a call gives all four numbers back in a third round trip and looks once more."""
        taken, _ = here.adapters.counted(quota.counters("calls", "ci", quota.EVERYBODY, NOW)[2])
        patiently(lambda: here.apply(grant()._replace(total_limits=(Limit(max(taken, 1), "day"),))))
        while here.adapters.counted(quota.counters("calls", "ci", quota.EVERYBODY, NOW)[2])[0] < max(taken, 1):
            patiently(lambda: here.admit(here.token))
        refused, all_four = _refused(lambda: here.admit(here.token), "quota_calls"), COUNTED + COUNTED
        assert _round_trips(here, refused, CALL, COUNTED, all_four, READ) == [CALL, COUNTED, all_four, READ]

    def test_a_bad_token_takes_no_round_trip(self, here: Stage) -> None:
        """A token that does not verify, or does not open the path, takes no round trip."""
        assert _round_trips(here, _refused(lambda: here.admit(here.token[:-9] + "A" * 9), "signature_wrong")) == []
        assert _round_trips(here, _refused(lambda: here.admit(here.token, now=NOW + 900), "exp_past")) == []
        assert _round_trips(here, _refused(lambda: here.admit(here.token, "other"), "aud_wrong")) == []


NO_ANSWER: dict[str, Fault] = {
    **{
        code: error(code)
        for code in ("ThrottlingException", "ProvisionedThroughputExceededException", "TransactionConflictException")
    },
    "500": error("InternalServerError", 500),
    "503": error("ServiceUnavailable", 503),
    "lost": loses_its_answer,
    "hangs": hangs,
}


@pytest.mark.parametrize("fault", NO_ANSWER)
def test_what_counts_is_sent_once_whatever_is_answered(here: Stage, fault: str) -> None:
    """Only giving back is sent once more, and only what was throttled, so that nothing of it was done."""
    counting = where(lambda turn: turn.operation == _ADD, NO_ANSWER[fault])
    twice = COUNTED + COUNTED if fault in THROTTLED else COUNTED
    # Giving back comes last: it is refused at once, while its other request may still be on its way to the door.
    for port, snapshot in {"admit_total": CALL_TOTAL, "give_back": twice}.items():
        with here.door.failing(counting) as arrived:
            with pytest.raises(Unavailable):
                PORTS[port](here)
            settle()
        assert Counter(arrived) <= snapshot
    PORTS["lean_taken"](here)  # the edge's own client has no threads to be waited for


@pytest.mark.parametrize("fault", NO_ANSWER)
def test_only_conflicts_are_retried(here: Stage, fault: str) -> None:
    """A transaction that did not conflict with another is sent once, whatever the answer."""
    transacting = where(lambda turn: turn.operation == _TRANSACT, NO_ANSWER[fault])
    with here.door.failing(transacting) as arrived, pytest.raises(Unavailable):
        PORTS["exchange"](here)
    assert Counter(arrived) == READ + WRITE
