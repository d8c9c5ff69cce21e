"""What has become of the calls under way, in DynamoDB: `chalicelib.edge.running.RunningState`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TypeVar

from chalicelib.aws import round_trip, target_items
from chalicelib.aws.items import Item
from chalicelib.aws.round_trip import AwsClient
from chalicelib.edge.running import Seen
from chalicelib.revocation import EVERYTHING, RevocationTarget

_T = TypeVar("_T")

_BATCH = 100
"""Items of one batch, as DynamoDB allows."""
_AT_ONCE = round_trip.CONNECTIONS // 2
"""Batches of one round trip: a client makes no more at the same time than it has connections."""


class DynamoRunningState:
    """Over the table `control`, whose name is given. For more than 1,600 targets it takes several round trips."""

    def __init__(self, client: AwsClient, control: str, seed: str) -> None:
        """seed: says which copy is read of what many calls share, so that several gateways do not all read one."""
        self._client, self._control, self._copy = client, control, target_items.copy_of(seed)

    def see(self, targets: Collection[RevocationTarget]) -> Seen:
        """See `RunningState.see`."""
        wanted = list(targets)
        found: dict[RevocationTarget, Item] = {}
        for batches in _parts([*_parts(wanted, _BATCH)], _AT_ONCE):
            read = (target_items.reading(self._control, one, self._copy) for one in batches)
            for items in round_trip.make(self._client, *read):
                found |= items
        states = {target: target_items.revocation_state(item) for target, item in found.items()}
        grants = {one.id: target_items.grant(item) for one, item in found.items() if one.scope == "grant"}
        there = {name: grant for name, grant in grants.items() if grant}
        return Seen(states, target_items.signing_keys(found.get(EVERYTHING, {})), there)


def _parts(whole: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    return (whole[first : first + size] for first in range(0, len(whole), size))
