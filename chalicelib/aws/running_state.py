"""What has become of the calls under way, in DynamoDB: `chalicelib.edge.running.RunningState`."""

from __future__ import annotations

from collections.abc import Collection

from chalicelib.aws import round_trip, target_items
from chalicelib.aws.round_trip import AwsClient
from chalicelib.edge.running import Seen
from chalicelib.revocation import EVERYTHING, RevocationTarget

_AT_ONCE = 100
"""Items of one batch, as DynamoDB allows."""


class DynamoRunningState:
    """Over the table `control`, whose name is given. One round trip is as many batches as are needed, at the same time."""

    def __init__(self, client: AwsClient, control: str, seed: str) -> None:
        """seed: says which copy is read of what many calls share, so that several gateways do not all read one."""
        self._client, self._control, self._copy = client, control, target_items.copy_of(seed)

    def see(self, targets: Collection[RevocationTarget]) -> Seen:
        """See `RunningState.see`."""
        wanted = list(targets)
        batches = [wanted[first : first + _AT_ONCE] for first in range(0, len(wanted), _AT_ONCE)]
        read = (target_items.reading(self._control, one, self._copy) for one in batches)
        found = {target: item for items in round_trip.make(self._client, *read) for target, item in items.items()}
        states = {target: target_items.revocation_state(item) for target, item in found.items()}
        grants = {one.id: target_items.grant(item) for one, item in found.items() if one.scope == "grant"}
        there = {name: grant for name, grant in grants.items() if grant}
        return Seen(states, target_items.signing_keys(found.get(EVERYTHING, {})), there)
