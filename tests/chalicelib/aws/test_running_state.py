"""What DynamoDB is asked for calls under way, however many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.aws.round_trip import CONNECTIONS, Steps
from chalicelib.aws.running_state import DynamoRunningState
from chalicelib.revocation import EVERYTHING, RevocationState, RevocationTarget


class Client:
    """A client whose table is empty, and that notes how many requests each round trip has."""

    def __init__(self) -> None:
        self.round_trips: list[int] = []

    def run(self, calls: Sequence[Steps[Any]], seconds: float, undo: Mapping[int, Steps[Any]]) -> Sequence[Any]:
        """See `AwsClient.run`."""
        del seconds, undo
        self.round_trips.append(len(calls))
        return [self._answer(call) for call in calls]

    def _answer(self, call: Steps[Any]) -> Any:  # noqa: ANN401  whatever a call returns
        request = next(call)
        (table,) = request.parameters["RequestItems"]
        assert len(request.parameters["RequestItems"][table]["Keys"]) <= 100
        try:
            call.send({"Responses": {table: []}})
        except StopIteration as end:
            return end.value
        raise AssertionError("one request reads a batch")


def test_no_round_trip_needs_more_than_there_are_connections() -> None:
    """Ten thousand targets take several round trips, each of which a client can make."""
    client = Client()
    targets = [EVERYTHING, *(RevocationTarget("token", f"token-{number}") for number in range(9_999))]
    seen = DynamoRunningState(client, "control", "gateway-1").see(targets)
    assert seen.states == dict.fromkeys(targets, RevocationState())
    assert sum(client.round_trips) == 100
    assert max(client.round_trips) <= CONNECTIONS
