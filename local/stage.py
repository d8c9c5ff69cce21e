"""The tables of a deployed stage, and what an edge or a broker beside its Lambdas, or in their place, has of them."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import edge
from chalicelib.aws import clients, config, published_keys, round_trip, target_items, wiring
from chalicelib.aws.answer_usage import DynamoAnswerUsage
from chalicelib.aws.budgets import DynamoBudgets
from chalicelib.aws.config import BrokerConfig, EdgeConfig
from chalicelib.aws.dynamodb import Tables, make_client
from chalicelib.aws.refused_calls import DynamoRefusedCalls
from chalicelib.aws.response_times import DynamoResponseTimes
from chalicelib.aws.role_credentials import session_of
from chalicelib.aws.running_state import DynamoRunningState
from chalicelib.aws.signing import KmsSigner
from chalicelib.aws.sigv4 import Credentials
from chalicelib.edge.billing import Kept
from chalicelib.errors import Unavailable
from chalicelib.http.ports import PublicPorts
from chalicelib.providers.prices import NO_PRICES, Prices
from chalicelib.revocation import EVERYTHING
from local.errors import StageUnusable

_NO_ITEM = {"pk": {"S": "gateway"}, "sk": {"S": "-"}}
"""An item that there is not: what is asked is whether the table answers."""
_FINAL = frozenset(
    "AccessDeniedException ResourceNotFoundException UnrecognizedClientException".split()  # noqa: SIM905  a list of words
    + "NotFoundException DisabledException KMSInvalidStateException InvalidArnException".split()  # noqa: SIM905  KMS's
)
"""AWS's words for what waiting does not mend: no such table or key, or not for this role."""


class Stage:
    """Its names are given; nothing is asked of AWS until it is used. credentials: returns at once, None if there are none."""

    def __init__(
        self,
        names: EdgeConfig,
        credentials: Callable[[], Credentials | None],
        environ: Mapping[str, str] = os.environ,
        *,
        broker: BrokerConfig | None = None,
        has_edge: bool = True,
    ) -> None:
        """environ: may name other endpoints, as for an emulator or a VPC. broker: of the public door, None without one.

        Raises ValueError for a URL without a host, NotConfigured for a configuration of AWS's tools that is no use.
        """
        self._names, self._broker = names, broker
        self._session = session_of(credentials) if broker else None
        # Only what the doors use: each may run as a role that is allowed no more.
        beside = ([names.counters] if has_edge else []) + ([broker.ledger] if broker else [])
        self._looked_at = {names.control: [published_keys.KEY], **{table: [_NO_ITEM] for table in beside}}
        self._client = config.client_of(names, environ, credentials)
        # Of its own, so that a look is not behind calls that wait.
        self._looking = config.client_of(names, environ, credentials)
        self._watching = config.client_of(names, environ, credentials)
        self._answers = config.client_of(names, environ, credentials)
        self._refusals = config.client_of(names, environ, credentials)
        self._responses = config.client_of(names, environ, credentials)

    def edge_ports(self, prices: Prices = NO_PRICES) -> edge.Ports:
        """Return the edge's ports, connected as far as round_trip.CALL_SECONDS allow: the first call need not wait.

        prices: what models cost, for grants that limit money.
        """
        made, log = config.edge_over(self._names, self._client, ahead=True), logging.getLogger("keybroker").info
        kept = Kept(DynamoBudgets(self._client, self._names.counters), prices)
        made = replace(made, budgets=kept)
        return edge.Ports(made, self._client.now, log, bounded=round_trip.whole_call)

    def public_ports(self) -> PublicPorts:
        """Return the public door's ports; there must be one."""
        if self._broker is None:
            raise ValueError("this stage has no public door")
        region, session = self._broker.region, self._session
        client = make_client(region, session=session)
        tables = Tables(client, self._broker.control, self._broker.counters, self._broker.ledger)
        return wiring.public_over(self._broker, tables, self._kms)

    def probed(self) -> tuple[Tables, KmsSigner]:
        """Return what a measurement of revocations needs: tables, with the counters, and what signs. There must be a broker's door."""
        if self._broker is None:
            raise ValueError("this stage has no public door")
        client = make_client(self._names.region, session=self._session)
        tables = Tables(client, self._names.control, self._names.counters, self._broker.ledger)
        return tables, KmsSigner(self._kms, *self._broker.signing_keys())

    def _kms(self) -> Any:  # noqa: ANN401  botocore's clients have no type here
        return clients.make("kms", self._names.region, session=self._session)

    def running_state(self) -> DynamoRunningState:
        """Return where the calls under way are looked after, with connections of its own."""
        return DynamoRunningState(self._watching, self._names.control, secrets.token_hex(8))

    def answer_usage(self) -> DynamoAnswerUsage:
        """Return where it is counted what answers took, with connections of its own."""
        return DynamoAnswerUsage(self._answers, self._names.counters)

    def refused_calls(self) -> DynamoRefusedCalls:
        """Return where refused calls are kept, with connections of its own."""
        return DynamoRefusedCalls(self._refusals, self._names.counters)

    def response_times(self) -> DynamoResponseTimes:
        """Return where it is added up how long answers took, with connections of its own."""
        return DynamoResponseTimes(self._responses, self._names.counters)

    def look(self) -> None:
        """Read the tables, as every call does; raises Unavailable within a round trip's time."""
        round_trip.make(self._looking, round_trip.batch(self._looked_at))

    def check(self) -> Iterator[str]:
        """Read each table by itself, and the public half of the signing key; yield what was found.

        Raises OperatorNeeded where AWS answers that it is not there, not for this role, or no key that signs; Unavailable
        where it does not answer, in bounded time.
        """
        for table, keys in self._looked_at.items():
            with _named(f"the table {table} in {self._names.region}"):
                round_trip.make(self._looking, round_trip.batch({table: keys}))
            yield f"the table {table} in {self._names.region} answers"
        if self._broker is not None:
            signer = KmsSigner(self._kms, *self._broker.signing_keys())
            with _named(f"the signing key {self._broker.signing_key}"):
                kid = signer.kid(self._signs())
                signer.check_permission(kid)
            # SECURITY: a token of a key that is not listed opens nothing, and who got it would not know why
            # (test_a_key_that_is_not_live_signs_nothing).
            if kid not in {one["kid"] for one in self.public_ports().jwks()}:
                raise StageUnusable(hint=f"the signing key {self._broker.signing_key} is no live one of this stage")
            yield f"the signing key {kid} is live"

    def _signs(self) -> str:
        """Return the kid of the key that the stage's state lets sign, "" if it names none; raises Unavailable."""
        steps = target_items.reading(self._names.control, [EVERYTHING], "0")
        return target_items.signs(round_trip.make(self._looking, steps)[0][EVERYTHING])

    def close(self) -> None:
        """Close the connections that are kept."""
        for client in (self._client, self._looking, self._watching, self._answers, self._refusals, self._responses):
            client.close()


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    """Say of a fault what it is about, and whether it can pass."""
    try:
        yield
    except Unavailable as fault:
        if fault.aws_code in _FINAL:
            raise StageUnusable(hint=f"{what}: {fault.aws_code}", aws_code=fault.aws_code) from None
        hint = fault.hint or f"{what}: {fault.aws_code or 'no answer'}"
        raise type(fault)(hint=hint, aws_code=fault.aws_code) from None
