"""How long round trips may take: each by itself, or all of a call at the edge together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from chalicelib.aws import round_trip
from chalicelib.aws.round_trip import CALL_SECONDS, ROUND_TRIP_SECONDS, UNDO_SECONDS, RequestFailed, Steps, ask
from chalicelib.errors import StateUnavailable


class Client:
    """Notes what it is given. fault: what it raises."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.seconds: list[float] = []
        self._fault = fault

    def run(self, calls: Sequence[Steps[Any]], seconds: float, undo: Mapping[int, Steps[Any]]) -> Sequence[Any]:  # noqa: ARG002  the protocol's
        """See `AwsClient.run`."""
        self.seconds.append(seconds)
        if self._fault:
            raise self._fault
        return [None] * len(calls)


class Clock:
    """The monotonic clock, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def make(client: Client, *, gives_back: bool = False) -> None:
    round_trip.make(client, ask("GetItem"), gives_back=gives_back)


def test_by_itself_each_has_its_own_time() -> None:
    client = Client()
    make(client)
    make(client, gives_back=True)
    assert client.seconds == [ROUND_TRIP_SECONDS] * 2


def test_a_call_s_round_trips_share_its_time(clock: Clock) -> None:
    """What the first has taken, the second has not; what is kept for giving back is for that alone."""
    client = Client()
    with round_trip.whole_call():
        make(client)
        clock.now += 2.0
        make(client)
        make(client, gives_back=True)
    whole = CALL_SECONDS - UNDO_SECONDS
    assert client.seconds == pytest.approx([whole, whole - 2.0, CALL_SECONDS - 2.0])


def test_past_its_time_nothing_is_sent(clock: Clock) -> None:
    """A count that nobody could wait for is not made; what was counted can still be given back."""
    client = Client()
    with round_trip.whole_call():
        clock.now += CALL_SECONDS - UNDO_SECONDS
        with pytest.raises(StateUnavailable) as caught:
            make(client)
        assert (client.seconds, caught.value.log_fields()["cause"]) == ([], "TimedOut")
        make(client, gives_back=True)
        clock.now += UNDO_SECONDS
        with pytest.raises(StateUnavailable):
            make(client, gives_back=True)
    assert client.seconds == pytest.approx([UNDO_SECONDS])


def test_each_call_has_its_own_time(clock: Clock) -> None:
    client = Client()
    for _ in range(2):
        with round_trip.whole_call():
            make(client)
            clock.now += CALL_SECONDS
    make(client)
    assert client.seconds == pytest.approx([CALL_SECONDS - UNDO_SECONDS] * 2 + [ROUND_TRIP_SECONDS])


@pytest.mark.parametrize(("fault", "cause"), [(TimeoutError(), "TimedOut"), (RequestFailed("NoAnswer"), "NoAnswer")])
def test_the_cause_is_in_the_log(fault: Exception, cause: str) -> None:
    with pytest.raises(StateUnavailable) as caught:
        make(Client(fault))
    assert caught.value.log_fields() == {"cause": cause}
