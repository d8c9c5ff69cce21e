"""How long a revocation took, as the probes of each region have written it: an item for each region."""

from __future__ import annotations

import json

from chalicelib.admin.revocation_probe import RevocationProbe
from chalicelib.aws.dynamodb import Tables, as_unavailable
from chalicelib.aws.items import text

PARTITION = "probe"
"""The partition of these items in the table `counters`; the sort key is the region."""


class DynamoRevocationProbes:
    """`chalicelib.admin.revocation_probe.RevocationProbes`, over the table `counters`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def revocation_probes(self) -> tuple[RevocationProbe, ...]:
        """See `RevocationProbes`; by region. What a probe of another version wrote is left out if it cannot be read."""
        with as_unavailable():
            found = self._tables.client.query(
                TableName=self._tables.counters,
                KeyConditionExpression="pk = :probe",
                ExpressionAttributeValues={":probe": {"S": PARTITION}},
                ConsistentRead=True,
            )
        probes = []
        for item in found["Items"]:
            try:
                probes.append(RevocationProbe(**json.loads(text(item, "probe"))))
            except (ValueError, TypeError):
                continue
        return tuple(probes)
