"""Both verbs over a set of adapters, with real keys and real tokens, and an issuer that vouches for anybody."""

from __future__ import annotations

from pathlib import Path

from chalicelib.edge import admission
from chalicelib.edge.admission import Edge
from chalicelib.edge.call import Call
from chalicelib.errors import Refusal
from chalicelib.exchange import exchange as exchange_verb
from chalicelib.exchange.exchange import Broker, TokenRequest
from chalicelib.issuers.presets import GENERIC
from chalicelib.issuers.registry import Issuer
from chalicelib.providers.keys import ProviderKey
from chalicelib.tokens import verify as tokens
from chalicelib.tokens.jwk import VerifyingKey
from chalicelib.tokens.jws import parse
from local.signing_key_file import SigningKeyFile
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import ISSUER

BROKER = "https://broker.example.com"


class Keys:
    """Key pairs, made once: the broker's, and the issuer's (`KeySource`)."""

    def __init__(self, directory: Path) -> None:
        self.broker = SigningKeyFile.create(directory / "broker.pem")
        self.issuer = SigningKeyFile.create(directory / "issuer.pem")

    def find(self, issuer: Issuer, kid: str, alg: str, now: int) -> VerifyingKey:  # noqa: ARG002  the port's
        """See `KeySource.find`."""
        return self.issuer.find(kid, now)


class _ProviderKeys:
    def get(self, name: str, version: str) -> ProviderKey:  # noqa: ARG002  the port's
        """See `ProviderKeys.get`."""
        return ProviderKey(version, "https://api.example.com", "authorization", "Bearer ", "made-up")


class Verbs:
    """Exchanges and calls."""

    def __init__(self, adapters: Adapters, keys: Keys) -> None:
        self._keys, self._control = keys, adapters.control
        # Never the same twice: DynamoDB remembers for ten minutes which writes it has made.
        self._ids = iter(samples.new_id, None)
        self._broker = Broker(
            ledger=adapters.ledger,
            keys=keys,
            signer=keys.broker,
            signing_keys=keys.broker,
            url=BROKER,
            edge_url="https://edge.example.com",
            identities=frozenset({GENERIC.identity}),
        )
        self._edge = Edge(
            state=adapters.edge_state, signing_keys=keys.broker, provider_keys=_ProviderKeys(), issuer=BROKER
        )

    def list_signing_keys(self) -> None:
        """Put the broker's key in force."""
        self._control.list_signing_keys((self._keys.broker.kid(),))

    def subject_token(self, subject: str, now: int) -> str:
        """Return an identity token of its own, good for 5 minutes."""
        claims = {"iss": ISSUER, "aud": "keybroker", "sub": subject, "iat": now, "exp": now + 300}
        header = {"typ": "JWT", "kid": self._keys.issuer.kid()}
        return self._keys.issuer.begin(header, {**claims, "jti": next(self._ids)}).result()

    def exchange(self, subject_token: str, grant: str, now: int, idempotency_key: str | None = None) -> str | Refusal:
        """Return a token of ours, or the "no"."""
        request = TokenRequest(subject_token, "openai", next(self._ids), grant, None, idempotency_key)
        try:
            return exchange_verb.exchange(request, self._broker, now, lambda: next(self._ids)).access_token
        except Refusal as refusal:
            return refusal

    def call(self, token: str, now: int, path: str = "/v1/chat/completions") -> Refusal | None:
        """Make a call; the "no", or None if it is admitted."""
        try:
            admission.admit(Call(token, "openai", "POST", path), self._edge, now)
        except Refusal as refusal:
            return refusal
        return None


def claims_of(token: str) -> tokens.Claims:
    """Return what a token of ours states, unverified."""
    return tokens.Claims(parse(token).unverified_claims)
