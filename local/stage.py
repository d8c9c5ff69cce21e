"""The tables of a deployed stage, and what an edge beside its Lambda, or in its place, has of them."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Mapping

import edge
from chalicelib.aws import config, published_keys, round_trip
from chalicelib.aws.config import EdgeConfig
from chalicelib.aws.running_state import DynamoRunningState
from chalicelib.aws.sigv4 import Credentials

_NOT_COUNTED = {"pk": {"S": "gateway"}, "sk": {"S": "-"}}
"""An item of `counters` that there is not: what is asked is whether the table answers."""


class Stage:
    """Its names are given; nothing is asked of AWS until it is used. credentials: returns at once, None if there are none."""

    def __init__(
        self,
        names: EdgeConfig,
        credentials: Callable[[], Credentials | None],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """environ: may name other endpoints, as for an emulator or a VPC. Raises ValueError for a URL without a host."""
        self._names = names
        self._client = config.client_of(names, environ, credentials)
        # Of its own, so that a look is not behind calls that wait.
        self._looking = config.client_of(names, environ, credentials)
        self._watching = config.client_of(names, environ, credentials)

    def edge_ports(self) -> edge.Ports:
        """Return the edge's ports."""
        made, log = config.edge_over(self._names, self._client), logging.getLogger("keybroker").info
        return edge.Ports(made, self._client.now, log, bounded=round_trip.whole_call)

    def running_state(self) -> DynamoRunningState:
        """Return where the calls under way are looked after, with connections of its own."""
        return DynamoRunningState(self._watching, self._names.control, secrets.token_hex(8))

    def look(self) -> None:
        """Read both tables, as every call does; raises Unavailable within a round trip's time."""
        wanted = {self._names.control: [published_keys.KEY], self._names.counters: [_NOT_COUNTED]}
        round_trip.make(self._looking, round_trip.batch(wanted))

    def close(self) -> None:
        """Close the connections that are kept."""
        self._client.close()
        self._looking.close()
        self._watching.close()
