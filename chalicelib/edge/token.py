"""The token of a call: SDKs put it wherever they would put their key. And what it says, once it is verified."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from chalicelib.edge import query as call_query
from chalicelib.edge.errors import TwoTokens
from chalicelib.edge.headers import Headers
from chalicelib.providers.presets import PROVIDERS
from chalicelib.revocation import EPOCHS, SCOPES, RevocationState, RevocationTarget
from chalicelib.tokens import issued
from chalicelib.tokens.signature_cache import LIMIT
from chalicelib.tokens.verify import LEEWAY, Claims, VerifiedSignature

_SCHEMES = ("bearer", "token")  # PyGithub and GitHub's own command line send the second
_PARAMETERS = frozenset(one.token_parameter for one in PROVIDERS.values()) - {""}


class VerifiedToken(NamedTuple):
    """What a token of ours says, once it is verified (docs/concepts.md)."""

    kid: str
    """The id of the key that signed it."""
    jti: str
    """Its own id."""
    principal: str
    """Who it was issued to: its `sub`."""
    issuer: str
    """Who vouched for the principal: its `idp`."""
    grant: str
    """The grant that it was issued under."""
    scope: tuple[str, ...]
    """The patterns of `METHOD:/path` that it opens."""
    epochs: Mapping[str, int]
    """By scope of revocation, the epoch at which it was issued."""
    has_total: bool
    """Whether its grant limited all callers together when it was issued: the call is then counted for them at once."""
    expires: int = 0
    """When it ends, in epoch seconds."""
    untouched: Mapping[str, RevocationState] = MappingProxyType({})
    """By scope, the states under which nothing was revoked since it was issued; empty if that was not worked out."""

    @classmethod
    def from_claims(cls, claims: Claims, kid: str) -> VerifiedToken:
        """Read the claims of a token that was verified."""
        epochs = _epochs(claims["ep"])
        return cls(
            kid=kid,
            jti=str(claims["jti"]),
            principal=str(claims["sub"]),
            issuer=str(claims["idp"]),
            grant=str(claims["grant"]),
            scope=tuple(str(claims["scope"]).split(" ")),
            epochs=epochs,
            has_total=bool(claims.get("total")),
            expires=_seconds(claims["exp"]),
            untouched={scope: RevocationState(epoch) for scope, epoch in epochs.items()},
        )

    def targets(self, key: str) -> Mapping[str, RevocationTarget]:
        """Return what a revocation can name to stop a call with this token and key, by scope."""
        return _targets(self.issuer, key, self.grant, self.principal, self.jti)


@functools.lru_cache(maxsize=LIMIT)
def _targets(*ids: str) -> Mapping[str, RevocationTarget]:
    named = zip(SCOPES, ("*", *ids), strict=True)
    return MappingProxyType({scope: RevocationTarget(scope, one) for scope, one in named})


class _Known(NamedTuple):
    signed: VerifiedSignature
    begins: int
    token: VerifiedToken


class KnownTokens:
    """What tokens say whose signature is remembered: it cannot change, and only the time has to be looked at again."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str, str], _Known] = {}

    def read(self, signed: VerifiedSignature, issuer: str, audience: str, now: int) -> VerifiedToken:
        """Return what a token says whose signature verified; raises InvalidTokenError, as `issued.check_claims`.

        now: epoch seconds.
        """
        place = id(signed), issuer, audience
        known = self._known.get(place)
        # SECURITY: for this very signature, issuer and key alone, and within the token's own times
        # (test_a_known_token_is_good_within_its_times_alone).
        if known is not None and known.signed is signed and known.begins <= now < known.token.expires:
            return known.token
        claims = issued.check_claims(signed, issuer, audience, now)
        token = VerifiedToken.from_claims(claims, signed.key.kid)
        begins = max(_seconds(claims["iat"]), _seconds(claims.get("nbf"))) - LEEWAY
        self._known[place] = _Known(signed, begins, token)
        while len(self._known) > LIMIT:
            self._known.pop(next(iter(self._known)), None)
        return token


def find(headers: Headers, query: str) -> str:
    """Return the unverified token of a call, "" if there is none; raises TwoTokens.

    One in the query counts only where no header has one; whether it may be there depends on the provider.
    """
    in_headers = only([_without_scheme(*one) for one in headers.tokens()])
    if in_headers or not query:
        return in_headers
    return only(value for name in _PARAMETERS for value in call_query.values(query, name))


def only(values: Iterable[str]) -> str:
    """Return the one value that there is, however often, "" if there is none; raises TwoTokens."""
    found = set(values) - {""}
    if len(found) > 1:
        raise TwoTokens
    return found.pop() if found else ""


def _without_scheme(name: str, value: str) -> str:
    scheme, _, rest = value.strip().partition(" ")
    return rest.strip() if name == "authorization" and scheme.lower() in _SCHEMES else value.strip()


def _seconds(carried: object) -> int:
    return int(carried) if isinstance(carried, int | float) else 0


def _epochs(carried: object) -> dict[str, int]:
    # The token's own epoch is always 0, so that one that was ever revoked stays invalid.
    numbers = carried if isinstance(carried, list) and len(carried) == len(EPOCHS) else [-1] * len(EPOCHS)
    return {**dict(zip(EPOCHS, numbers, strict=True)), "token": 0}
