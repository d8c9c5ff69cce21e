"""How long a revocation took, as the probe of each place has written it: an item for each place, and whose turn it is to measure."""

from __future__ import annotations

import json
import secrets

import botocore.exceptions

from chalicelib.admin.revocation_probe import RevocationProbe
from chalicelib.aws.dynamodb import Tables, as_unavailable, read_partition
from chalicelib.aws.items import text

PARTITION = "probe"
"""The partition of these items in the table `counters`; the sort key is the place."""
_KEPT = 30 * 24 * 3600
"""Seconds after which what nobody measures any more is deleted."""
_EARLY = 0.9
"""The part of a period after which the next measurement may begin: clocks and timers differ a little."""


class DynamoRevocationProbes:
    """`chalicelib.admin.revocation_probe.RevocationProbes`, over the table `counters`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def revocation_probes(self) -> tuple[RevocationProbe, ...]:
        """See `RevocationProbes`; by place. What a probe of another version wrote is left out if it cannot be read."""
        probes = []
        for item in read_partition(self._tables, self._tables.counters, PARTITION):
            try:
                probes.append(RevocationProbe(**json.loads(text(item, "probe"))))
            except (ValueError, TypeError):
                continue
        return tuple(probes)


class DynamoKept:
    """`chalicelib.admin.revocation_probe.Kept` of a place that several may measure: one of them does, each period."""

    def __init__(self, tables: Tables, where: str, every: float) -> None:
        """every: seconds from one measurement to the next."""
        self._tables, self._where, self._every = tables, where, every
        self._turn = ""

    @property
    def where(self) -> str:
        """See `Kept.where`."""
        return self._where

    def begin(self, now: int) -> bool:
        """See `Kept.begin`: one conditional write, so that of those who ask at once one gets the turn."""
        # A turn may have been given by a clock that is ahead of ours: it holds for a period, not until then.
        turn = secrets.token_hex(8)
        condition = "attribute_not_exists(began) OR began <= :due OR began >= :ahead"
        values = {
            ":now": {"N": str(now)},
            ":due": {"N": str(int(now - self._every * _EARLY))},
            ":ahead": {"N": str(int(now + self._every))},
            ":turn": {"S": turn},
            ":ttl": {"N": str(now + _KEPT)},
        }
        if self._write("SET began = :now, turn = :turn, expires_at = :ttl", condition, values):
            self._turn = turn
            return True
        return False

    def keep(self, probe: RevocationProbe) -> None:
        """See `Kept.keep`; nothing is kept of one who has lost the turn to another meanwhile."""
        values = {":probe": {"S": json.dumps(probe.to_json())}, ":turn": {"S": self._turn}}
        self._write("SET probe = :probe", "turn = :turn", values)

    def _write(self, update: str, condition: str, values: dict[str, dict[str, str]]) -> bool:
        try:
            with as_unavailable():
                self._tables.client.update_item(
                    TableName=self._tables.counters,
                    Key={"pk": {"S": PARTITION}, "sk": {"S": self._where}},
                    UpdateExpression=update,
                    ConditionExpression=condition,
                    ExpressionAttributeValues=values,
                )
        except botocore.exceptions.ClientError:  # the condition's, which is all that is left
            return False
        return True
