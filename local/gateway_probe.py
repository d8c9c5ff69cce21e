"""Measures now and then, over the tables of a stage, how long a revocation takes: one gateway of those that serve the broker does."""

from __future__ import annotations

import secrets
import socket
from typing import Final, Protocol

from chalicelib.admin.revocation_probe import NAME, Seen
from chalicelib.audit import Event
from chalicelib.aws.control import DynamoControl
from chalicelib.aws.dynamodb import Tables
from chalicelib.aws.edge_url import EdgeUrl
from chalicelib.aws.revocation_probes import DynamoKept
from chalicelib.aws.revocations import DynamoRevocations
from chalicelib.revocation import Revocation, RevocationState, RevocationTarget, detail
from chalicelib.tokens.key_list import SigningKeyList
from chalicelib.tokens.signer import Signer
from local.gateway_settings import Settings
from local.revocation_probe import Edge, RevocationProbing, token_of

SCOPE: Final = "token"
"""What is revoked. A broker's role may write revocations of tokens and no others, so a principal's would take a wider one."""


class _Edge(Protocol):
    def call(self, token: str, scope: str) -> Seen:
        """Make a call with a token, in bounded time."""


class Steps:
    """`chalicelib.admin.revocation_probe.Steps` over tables: a token of the probe's own, which it revokes as its holder."""

    def __init__(self, edge: _Edge, tables: Tables, signer: Signer, issuer: str, now: int) -> None:
        """issuer: the broker's URL. now: epoch seconds. Raises Unavailable."""
        self._edge, self._revocations, self._now = edge, DynamoRevocations(tables), now
        self._jti, self._sub = secrets.token_urlsafe(16), f"{issuer}|{NAME}"
        self._token = token_of(signer, _Known(tables), issuer, self._jti, now)

    def call(self) -> Seen:
        """See `Steps.call`."""
        return self._edge.call(self._token, SCOPE)

    def revoke(self) -> None:
        """See `Steps.revoke`. It is for good; the tables delete it by themselves."""
        revocation = Revocation.by_holder(self._jti, self._sub, self._now)
        event = Event(
            id=revocation.id,
            at=self._now,
            kind="revocation.made",
            request_id="",
            principal=self._sub,
            jti=self._jti,
            actor=NAME,
            detail=detail(revocation),
        )
        self._revocations.revoke(revocation, event)


class _Known:
    """`local.revocation_probe.Known` over tables."""

    def __init__(self, tables: Tables) -> None:
        self._revocations, self._control = DynamoRevocations(tables), DynamoControl(tables)

    def revocation_state(self, target: RevocationTarget) -> RevocationState:
        """See `Revocations.revocation_state`."""
        return self._revocations.revocation_state(target)

    def signing_key_list(self) -> SigningKeyList:
        """See `SigningKeyLists.signing_key_list`."""
        return self._control.signing_key_list()


def where(settings: Settings) -> str:
    """Return what the gateways of a region are called among the places that are measured."""
    return f"gateways in {settings.names.region}"


def probing(settings: Settings, edge: socket.socket | None, tables: Tables, signer: Signer) -> RevocationProbing:
    """Return what measures. edge: this gateway's own, where it has one; else that of the stage, by its URL."""
    names = settings.names
    called: _Edge = EdgeUrl(names.edge_url) if edge is None else Edge(edge, is_tls=settings.tls is not None)
    every = settings.revocation_probe
    kept = DynamoKept(tables, where(settings), every)
    return RevocationProbing(lambda now: Steps(called, tables, signer, names.issuer, now), kept, every)
