"""With what the minter's function asks for credentials: AWS's own assertions, or keys in KMS, and the function's role."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.aws import bedrock_token, federation_keys, web_identity
from chalicelib.aws.federation_keys import KmsFederationKeys
from chalicelib.federation import assertion
from chalicelib.federation.exchange import Answer, MintError
from chalicelib.issuers import fetch
from chalicelib.providers.federated import BROKER
from chalicelib.providers.versions import KeyInfo
from chalicelib.tokens.errors import SigningUnavailable

Ask = Callable[[str, str, Mapping[str, str], bytes, float], tuple[int, Mapping[str, str], bytes]]
"""`chalicelib.issuers.fetch.ask`."""
_MISSING = "NotFoundException"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the means of all keys have in common. kms: makes a client, at its first use. deployment: the prefix of all names."""

    keys: KmsFederationKeys
    kms: Callable[[], Any]
    broker: str
    deployment: str
    region: str
    clock: Callable[[], int]
    new_id: Callable[[], str]
    ask: Ask = fetch.ask

    def means(self, info: KeyInfo, jti: Callable[[str], None]) -> KmsMeans:
        """See `chalicelib.federation.minter.MeansOf`."""
        return KmsMeans(info, jti, self)


class KmsMeans:
    """`chalicelib.federation.exchange.Means` of one key."""

    def __init__(self, info: KeyInfo, jti: Callable[[str], None], parts: Parts) -> None:
        self._info, self._jti, self._parts = info, jti, parts

    def ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes, within: float) -> Answer:
        """See `Means.ask`."""
        return Answer(*self._parts.ask(method, url, headers, body, within))

    def assertion(self, audience: str, life: int, algorithms: Sequence[str]) -> str:
        """See `Means.assertion`."""
        parts = self._parts
        if (self._info.federated or {}).get("identity") != BROKER:
            token = web_identity.assertion(audience, life, algorithms, parts.region)
            self._jti(web_identity.unverified_jti(token))
            return token
        now, jti = parts.clock(), parts.new_id()
        claims = assertion.claims(parts.broker, self._info.name, audience, now, life, jti)
        self._jti(jti)
        return parts.keys.sign(claims, algorithms, now)

    def app_token(self, claims: Mapping[str, object]) -> str:
        """See `Means.app_token`: signed by the App's private key, which was imported into KMS under its alias."""
        alias = app_alias(self._parts.deployment, str(claims["iss"]))
        try:
            return federation_keys.signed(self._parts.kms(), alias, claims, {"alg": "RS256", "typ": "JWT"})
        except SigningUnavailable as fault:
            if fault.aws_code == _MISSING:
                raise MintError("app_key_missing", denied=True) from None
            raise

    def bedrock_token(self, region: str, role: str, life: int) -> tuple[str, int]:
        """See `Means.bedrock_token`."""
        return bedrock_token.make(region, role, life, self._parts.clock())


def app_alias(deployment: str, client: str) -> str:
    """Return the alias of the KMS key that is an App's. client: its client id; an alias has no dots."""
    return f"alias/{deployment}-app-{client.replace('.', '-')}"
