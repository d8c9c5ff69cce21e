"""Both verbs as a caller meets them: real tokens over a set of adapters, ids that no other process makes."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chalicelib.edge import admission
from chalicelib.edge.admission import Edge
from chalicelib.edge.call import Call
from chalicelib.edge.state import EdgeState
from chalicelib.errors import Refusal
from chalicelib.exchange import exchange as exchange_verb
from chalicelib.exchange.exchange import Broker, TokenRequest
from chalicelib.exchange.ledger import Ledger
from chalicelib.issuers.presets import GENERIC
from chalicelib.providers.keys import ProviderKey
from tests.contracts.adapters import Adapters
from tests.contracts.samples import ISSUER, new_id
from tests.contracts.verbs import BROKER, Keys

KEY_LENGTH = 16
"""Bytes of an Idempotency-Key."""


@functools.cache
def keys_in(directory: Path) -> Keys:
    """Return the broker's and the issuer's key pairs of a directory, read or made once in each process."""
    return Keys(directory)


class _ProviderKeys:
    def get(self, name: str, version: str) -> ProviderKey:  # noqa: ARG002  the port's
        """See `ProviderKeys.get`."""
        return ProviderKey(version, "https://api.example.com", "authorization", "Bearer ", "made-up")


@dataclass(frozen=True)
class Actor:
    """Exchanges and calls. edge_state, ledger: the store's own, or something in front of them.

    grant: what an exchange names; None leaves it to the broker to find the one that fits.
    """

    keys: Keys
    edge_state: EdgeState
    ledger: Ledger
    grant: str | None = "ci"

    @classmethod
    def over(cls, adapters: Adapters, keys: Keys) -> Actor:
        """Return one that uses a store as it is."""
        return cls(keys, adapters.edge_state, adapters.ledger)

    @property
    def broker(self) -> Broker:
        """What an exchange needs."""
        return Broker(
            ledger=self.ledger,
            keys=self.keys,
            signer=self.keys.broker,
            signing_keys=self.keys.broker,
            url=BROKER,
            edge_url="https://edge.example.com",
            identities=frozenset({GENERIC.identity}),
        )

    def subject_token(self, subject: str, now: int, **claims: object) -> str:
        """Return an identity token of its own, good for 5 minutes."""
        made: Mapping[str, object] = {
            "iss": ISSUER,
            "aud": "keybroker",
            "sub": subject,
            "iat": now,
            "exp": now + 300,
            "jti": new_id(),
            **claims,
        }
        return self.keys.issuer.begin({"typ": "JWT", "kid": self.keys.issuer.kid()}, made).result()

    @property
    def edge(self) -> Edge:
        """What an admission needs."""
        return Edge(state=self.edge_state, signing_keys=self.keys.broker, provider_keys=_ProviderKeys(), issuer=BROKER)

    def request(self, subject_token: str, idempotency_key: str = "") -> TokenRequest:
        """Return what is asked for in an exchange."""
        named = idempotency_key or None
        return TokenRequest(subject_token, "openai", new_id(), grant=self.grant, idempotency_key=named)

    def exchange(self, subject_token: str, now: int, idempotency_key: str = "") -> str:
        """Return a token of ours; raises Refusal."""
        request = self.request(subject_token, idempotency_key)
        return exchange_verb.exchange(request, self.broker, now, new_id).access_token

    def call(self, token: str, now: int) -> None:
        """Make a call; raises Refusal unless it is admitted."""
        admission.admit(call_with(token), self.edge, now)

    def is_within_quota(self, token: str, now: int) -> bool:
        """Make a call, and say whether it was admitted; raises Refusal for any other reason than the quota."""
        try:
            self.call(token, now)
        except Refusal as refusal:
            if refusal.reason != "quota_calls":
                raise
            return False
        return True


def call_with(token: str) -> Call:
    """Return a call that the grant's scope admits."""
    return Call(token, "openai", "POST", "/v1/chat/completions")


def idempotency_key() -> str:
    """Return a key of 128 bits."""
    return secrets.token_hex(KEY_LENGTH)
