"""A call whose item takes no more just then: numbered by a lot of a slice, over either client, through a real socket."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from chalicelib import quota
from chalicelib.aws.round_trip import RequestFailed
from chalicelib.edge import lots
from chalicelib.errors import Refusal, Unavailable
from chalicelib.policy.grants import Grant
from chalicelib.quota import EVERYBODY, WINDOWS, Limit
from chalicelib.usage import UsageQuery
from tests.contracts import dynamodb_adapters, samples
from tests.contracts.samples import NOW, SIX, SUB, calls, grant
from tests.dynamodb_stage import Stage, patiently, settle, stage
from tests.faulty_dynamodb import Fault, Turn, error, from_the, hangs, hot, loses_its_answer, where

pytestmark = pytest.mark.slow  # a policy is put in force for each, through a socket
SIZE, LIMIT = 4, 30
TOTAL = quota.counters("calls", "ci", EVERYBODY, NOW)


@pytest.fixture(scope="module", params=["botocore", "edge_client"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One stage for all, with each of the edge's clients in turn."""
    with stage(tmp_path_factory.mktemp("keys"), lean=request.param == "edge_client") as one:
        yield one


@pytest.fixture
def here(shared: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """The stage without a count; its grant takes thirty calls a day, and there are lots of four in one slice for it."""
    for name, value in {"SIZE": SIZE, "SLICES": 1, "SMALLEST_LIMIT": LIMIT}.items():
        monkeypatch.setattr(lots, name, value)
    client, table = dynamodb_adapters.locked_moto(), shared.tables.counters
    for item in client.scan(TableName=table)["Items"]:
        client.delete_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]})
    with dynamodb_adapters.patience():
        under(shared, grant(calls=(Limit(LIMIT, "day"),)))
        yield shared


def under(here: Stage, made: Grant) -> None:
    """Put a grant in force, with a token of it."""
    policy = samples.policy(made, issuers=(samples.issuer(single_use=True),))
    here.past.apply(policy, "the text", here.version(), samples.event("policy.applied"))
    here.token = patiently(here.issued)


def of(turn: Turn, partition: str) -> bool:
    """Whether a request writes to an item of such a partition."""
    return turn.operation == "UpdateItem" and turn.body["Key"]["pk"]["S"].startswith(partition)


def adds_one(turn: Turn) -> bool:
    """Whether a request counts one call at an item."""
    return of(turn, "calls#") and set(_added(turn)) == {1}


def _added(turn: Turn) -> list[int]:
    values = turn.body.get("ExpressionAttributeValues", {})
    return [int(value["N"]) for name, value in values.items() if name.startswith(":a")]


def puts_a_lot(turn: Turn) -> bool:
    """Whether a request puts a lot into a slice."""
    return of(turn, "slice#") and turn.body["UpdateExpression"].startswith("SET")


def hands_out(turn: Turn) -> bool:
    """Whether a request takes a lot at an item."""
    return of(turn, "calls#") and SIZE in _added(turn)


RUSH = where(adds_one, hot())
"""Items that take no single calls. Each call is numbered by a slice."""


def admitted(here: Stage, tries: int, fault: Fault = RUSH) -> int:
    """Make calls while something is wrong; return how many were admitted. The others were refused by the limit."""
    done = 0
    for _ in range(tries):
        try:
            with here.door.failing(fault):
                here.admit(here.token)
            done += 1
        except Refusal as refusal:
            if refusal.reason != "quota_calls":
                raise
    return done


def unavailable(here: Stage, fault: Fault) -> Unavailable:
    """Make a call, for which the state is unavailable."""
    with here.door.failing(fault), pytest.raises(Unavailable) as caught:
        here.admit(here.token)
    settle()
    return caught.value


def counted(here: Stage) -> list[tuple[int, int]]:
    """Return how many calls are taken and refused in each window."""
    return [here.adapters.counted(one) for one in calls()]


def at_item(here: Stage) -> dict[str, int]:
    """Return what the counters' own items hold: what is in use, and the whole of every lot."""
    return {one.window: number for one, number in here.adapters.edge_state.taken(calls()).items()}


class TestCost:
    """What is asked of DynamoDB."""

    def test_a_call_in_time_costs_what_it_did(self, here: Stage) -> None:
        """A call that is not throttled is one batch and two updates at once, of its own two items."""
        keys: list[str] = []

        def look(turn: Turn) -> bool:
            if turn.operation == "UpdateItem":
                keys.append(turn.body["Key"]["pk"]["S"])
            return False

        with here.door.failing(where(look, hangs)) as arrived:
            here.admit(here.token)
        assert Counter(arrived) == {"BatchGetItem": 1, "UpdateItem": 2}
        assert keys == [f"calls#ci#{SUB}"] * 2
        assert not any("slice#" in one for one in here.content(here.tables.counters))

    def test_a_throttled_call_takes_two_updates_more(self, here: Stage) -> None:
        """A call that was throttled asks two slices; the first and each further lot takes two updates more for each."""
        for others in (4, 0, 0, 0, 4, 0):
            with here.door.failing(RUSH) as arrived:
                here.admit(here.token)
            assert Counter(arrived) == {"BatchGetItem": 1, "UpdateItem": 4 + others}


class TestNumbers:
    """Never more than the limit, and nothing lost but what lies unused."""

    @pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "ThrottlingException"])
    def test_a_rush_is_numbered_up_to_the_limit(self, here: Stage, code: str) -> None:
        """Calls that are all throttled are admitted up to the limit, and counted one by one."""
        assert admitted(here, LIMIT + 5, where(adds_one, hot(code))) == LIMIT
        assert counted(here) == [(LIMIT, 5)] * 3
        assert set(at_item(here).values()) == {LIMIT + 2}, "eight lots of four"

    def test_an_item_that_is_throttled_alone(self, here: Stage) -> None:
        """Where one of the two items takes no more, the other numbers the call as ever."""
        for window in ("hour", "day"):
            one = where(lambda turn, of=window: adds_one(turn) and of in turn.body["Key"]["sk"]["S"], hot())  # type: ignore[misc]
            assert admitted(here, 3, one) == 3
        assert counted(here) == [(6, 0)] * 3

    def test_lots_and_single_calls_together(self, here: Stage) -> None:
        """Calls that are taken in time in between are admitted as well; what lies unused in the slice is missing at most."""
        done = sum(admitted(here, 1, RUSH if number % 3 else where(hands_out, hangs)) for number in range(LIMIT + 20))
        assert LIMIT - SIZE < done <= LIMIT
        assert counted(here)[2][0] == done

    def test_three_limits_at_once(self, here: Stage) -> None:
        """A minute's, an hour's and a day's limit hold at once; a new minute has lots of its own."""
        under(here, grant(calls=(Limit(LIMIT, "minute"), Limit(LIMIT + 9, "hour"), Limit(LIMIT + 15, "day"))))
        assert admitted(here, LIMIT + 1) == LIMIT
        with here.door.failing(RUSH):
            for _ in range(9):
                here.admit(here.token, now=NOW + 60)
            with pytest.raises(Refusal, match="quota_calls"):
                here.admit(here.token, now=NOW + 60)
        assert [here.adapters.counted(one)[0] for one in calls(NOW + 60)] == [9, LIMIT + 9, LIMIT + 9]

    def test_a_total_by_lots(self, here: Stage) -> None:
        """A `total` is numbered by lots of its own, whichever principal a call is of."""
        under(here, grant(calls=(Limit(LIMIT, "day"),))._replace(total_limits=(Limit(LIMIT, "hour"),)))
        of_all = where(lambda turn: adds_one(turn) and turn.body["Key"]["pk"]["S"].endswith("#*"), hot())
        assert admitted(here, LIMIT + 3, of_all) == LIMIT
        assert {here.adapters.counted(one) for one in (*calls(), *TOTAL)} == {(LIMIT, 3)}


class TestOtherLimits:
    """Limits that change within their window."""

    def test_a_lowered_limit_holds_at_once(self, here: Stage) -> None:
        """A lower limit counts what was admitted before it, and no number of a lot from before it is used."""
        under(here, grant(calls=(Limit(4 * LIMIT, "day"),)))
        assert admitted(here, LIMIT + 6) == LIMIT + 6
        under(here, grant(calls=(Limit(LIMIT + 9, "day"),)))
        assert admitted(here, 9) <= 3
        under(here, grant(calls=(Limit(LIMIT, "day"),)))
        assert admitted(here, 9) == 0

    def test_limits_that_come_back(self, here: Stage) -> None:
        """Once a limit was raised, used, and is as it was, a lot from before it was raised admits nobody."""
        assert admitted(here, LIMIT - 1) == LIMIT - 1
        under(here, grant(calls=(Limit(LIMIT + 5, "day"),)))
        assert admitted(here, 9, where(hands_out, hangs)) == 3, (
            "directly; two lie unused in the lot of the first limits"
        )
        under(here, grant(calls=(Limit(LIMIT, "day"),)))
        assert admitted(here, 9) == 0

    def test_a_raised_limit_admits_more(self, here: Stage) -> None:
        """A higher limit admits what it has more, but what lay unused under the old one."""
        assert admitted(here, LIMIT + 1) == LIMIT
        under(here, grant(calls=(Limit(LIMIT + 8, "day"),)))
        assert 8 - SIZE < admitted(here, 12) <= 8

    def test_another_grant_does_not_change_it(self, here: Stage) -> None:
        """What changes other grants alone leaves the lots of this one."""
        assert admitted(here, 1) == 1
        under(here, grant(calls=(Limit(LIMIT, "day"),)))
        assert admitted(here, SIZE - 1) == SIZE - 1
        assert at_item(here)["day"] == SIZE


class TestGivingBack:
    """What a refused call took is there for the next."""

    def refuse(self, here: Stage) -> None:
        """Make a call that is refused for its address, after it has its number."""
        with here.door.failing(RUSH), pytest.raises(Refusal, match="address"):
            here.admit(here.token)

    @pytest.fixture(autouse=True)
    def nowhere(self, here: Stage) -> None:
        """Admit calls of one address, which those of the stage do not have."""
        under(here, self._granted()._replace(source_ips=("192.0.2.1/32",)))

    def _granted(self) -> Grant:
        return grant(calls=(Limit(LIMIT, "day"),))

    def test_numbers_go_back_to_their_lot(self, here: Stage) -> None:
        """As often as calls are refused, no lot but the first is handed out, and each refusal is counted once."""
        for refused in range(1, 3 * SIZE):
            self.refuse(here)
            assert counted(here) == [(0, refused)] * 3
        assert set(at_item(here).values()) == {SIZE}

    def test_refusals_of_the_minute_are_told(self, here: Stage) -> None:
        """Giving back tells how often the principal was refused this minute, as the edge's limit of refusals needs it."""
        told = []
        for _ in range(2):
            with here.door.failing(RUSH):
                slices = here.adapters.edge_state.read_and_count(SIX, calls()).slices
                assert slices is not None
                slices.take()
                told.append(slices.give_back("a_test"))
        assert told == [1, 2]

    def test_a_lot_that_is_gone(self, here: Stage) -> None:
        """A number whose lot is no longer in its slice goes back to the item."""
        state = here.adapters.edge_state
        with here.door.failing(RUSH):
            slices = state.read_and_count(SIX, calls()).slices
            assert slices is not None
            own, _ = slices.take()
            for _ in range(SIZE):
                other = state.read_and_count(SIX, calls()).slices
                assert other is not None
                other.take()
            assert set(at_item(here).values()) == {2 * SIZE}
            slices.give_back("a_test")
        assert own == dict.fromkeys(WINDOWS, 1)
        assert set(at_item(here).values()) == {2 * SIZE - 1}
        assert counted(here) == [(SIZE, 1)] * 3

    def test_a_give_back_is_never_doubled(self, here: Stage) -> None:
        """A give-back whose answer is lost is not sent again: the number stays taken."""
        gives_back = where(lambda turn: of(turn, "slice#") and "ConditionExpression" in turn.body, loses_its_answer)
        self.refuse(here)
        with here.door.failing(lambda turn: (RUSH if adds_one(turn) else gives_back)(turn)) as arrived:
            with pytest.raises(Unavailable):
                here.admit(here.token)
            settle()
        assert Counter(arrived)["UpdateItem"] == 6


class TestFaults:
    """What is not known to be done, and calls that die in the middle."""

    @pytest.mark.parametrize(
        "why", ["AccountLimitExceeded", "MaxOnDemandThroughputExceeded", "ProvisionedThroughputExceeded"]
    )
    def test_what_is_not_hot_is_refused(self, here: Stage, why: str) -> None:
        """A table that takes no more is not asked for more: the call is refused, and nothing stays counted."""
        for fault in (hot(why=why), error("ThrottlingException")):
            with here.door.failing(where(adds_one, fault)) as arrived, pytest.raises(Unavailable):
                here.admit(here.token)
            settle()
            assert Counter(arrived)["UpdateItem"] == 2
        assert counted(here) == [(0, 0)] * 3

    @pytest.mark.parametrize("fault", [hangs, loses_its_answer, hot()])
    @pytest.mark.parametrize("step", [hands_out, puts_a_lot, lambda turn: of(turn, "slice#") and not puts_a_lot(turn)])
    def test_a_call_that_dies(self, here: Stage, step: Callable[[Turn], bool], fault: Fault) -> None:
        """A call that dies at any step of fetching a lot takes that lot with it at most; the others go on."""
        first = where(step, from_the(1, fault, 2))
        done = 0
        try:
            with (
                here.door.failing(lambda turn: (RUSH if adds_one(turn) else first)(turn)),
                dynamodb_adapters.patience(1),
            ):
                here.admit(here.token)
            done = 1
        except Unavailable:
            settle()
        for _ in range(LIMIT + 9):
            try:
                done += admitted(here, 1)
            except Unavailable:  # past the lot that never came, until another fetches the next
                settle()
        assert LIMIT - 2 * SIZE <= done <= LIMIT

    def test_an_item_that_hands_out_nothing(self, here: Stage) -> None:
        """Where an item is too busy even for a lot, the call is refused and what its other item gave is back."""
        assert admitted(here, SIZE) == SIZE
        of_day = where(lambda turn: hands_out(turn) and turn.body["Key"]["sk"]["S"].startswith("day"), hot())
        refused = unavailable(here, lambda turn: (RUSH if adds_one(turn) else of_day)(turn))
        assert refused.aws_code == "ProvisionedThroughputExceededException"
        assert [taken for taken, _ in counted(here)] == [SIZE] * 3

    def test_a_small_limit_is_refused(self, here: Stage) -> None:
        """Under a limit that is too small for lots, a call that is throttled is refused as ever, and leaves nothing."""
        under(here, grant(calls=(Limit(LIMIT, "day"), Limit(LIMIT - 1, "minute"))))
        refused = unavailable(here, where(lambda turn: adds_one(turn) and "day" in turn.body["Key"]["sk"]["S"], hot()))
        assert refused.aws_code == "TableWriteKeyRangeThroughputExceeded"
        assert [taken for taken, _ in counted(here)] == [0] * 3
        assert not any("slice#" in one for one in here.content(here.tables.counters))

    def test_a_small_total_is_refused(self, here: Stage) -> None:
        """A flood of one caller cannot lock up a small total in slices, however large its own limit is."""
        under(here, grant(calls=(Limit(LIMIT, "day"),))._replace(total_limits=(Limit(LIMIT - 1, "day"),)))
        unavailable(here, RUSH)
        assert [here.adapters.counted(one)[0] for one in (*calls(), *TOTAL)] == [0] * 6
        assert not any("slice#" in one for one in here.content(here.tables.counters))

    def test_a_revoked_flood_takes_no_numbers(self, here: Stage) -> None:
        """Who is revoked is refused before it is numbered, and slices are not asked."""
        refused = pytest.raises(Refusal, match="revoked_principal")
        with here.blocked("principal", SUB), here.door.failing(RUSH) as arrived, refused:
            here.admit(here.token)
        assert Counter(arrived)["UpdateItem"] == 2
        assert not any("slice#" in one for one in here.content(here.tables.counters))


class TestUsage:
    """What people read."""

    def test_what_lies_in_slices_is_not_used(self, here: Stage) -> None:
        """Usage shows the calls that were admitted and refused, wherever they were counted."""
        assert admitted(here, LIMIT + 3) == LIMIT
        for window in WINDOWS:
            found = here.adapters.usage.uses(UsageQuery(window, NOW)).uses
            [one] = [use for use in found if use.grant == "ci"]
            assert (one.calls, dict(one.refused_calls)) == (LIMIT, {"quota_calls": 3})
        assert here.adapters.usage.recent_calls([(SUB, "ci")], NOW) == {(SUB, "ci"): LIMIT}

    def test_others_cost_no_more_to_read(self, here: Stage) -> None:
        """Where no lots were handed out, reading usage asks for no slices."""
        here.admit(here.token)
        query = replace(UsageQuery("hour", NOW), principal=SUB)
        with here.door.failing(where(lambda _turn: False, hangs)) as before:
            here.adapters.usage.uses(query)
        assert Counter(before)["BatchGetItem"] == 1


@pytest.mark.parametrize(
    "said", [None, "x", {}, {"throttlingReasons": "x"}, {"throttlingReasons": ["x", {"reason": []}]}]
)
def test_no_reason_is_not_hot(said: object) -> None:
    """An error that does not say that its key range is hot is not taken for one that does."""
    assert not RequestFailed("ThrottlingException", said).is_hot
