"""Who the caller of an exchange is, once its subject token proves it; and the record if its claims are refused all the same."""

from __future__ import annotations

from typing import NamedTuple

from chalicelib import principal
from chalicelib.audit import Event
from chalicelib.exchange.ledger import REPLAY_MARGIN
from chalicelib.exchange.replay import ReplayKey, digest, replay_id, signed_id
from chalicelib.exchange.request import TokenRequest
from chalicelib.issuers.registry import Issuer
from chalicelib.principal import Principal
from chalicelib.tokens import verify as tokens
from chalicelib.tokens.errors import RefusedClaimError
from chalicelib.tokens.verify import Proven


class Caller(NamedTuple):
    """A caller whose subject token is good."""

    principal: Principal
    claims: tokens.Claims
    replay_key: ReplayKey


class Sender(NamedTuple):
    """Who sends a subject token whose signature, issuer and audience hold; its claims may be refused."""

    request: TokenRequest
    proven: Proven
    issuer: Issuer

    def identify(self, now: int) -> Caller:
        """Return the caller if the claims are as they must be; raises RefusedClaimError."""
        claims = tokens.check_rules(self.proven, self.issuer.expected(), now)
        stable_id = principal.stable_id(self.issuer.identity, claims)
        if stable_id is None:
            raise RefusedClaimError("identity_missing", principal.identity_fault(self.issuer.identity, claims))
        until = int(str(claims["exp"])) + tokens.LEEWAY + REPLAY_MARGIN
        token_id = replay_id(self.request.unverified_subject_token, claims)
        replay_key = ReplayKey(token_id, until, self.issuer.single_use)
        return Caller(Principal(self.issuer.url, stable_id, self._name()), claims, replay_key)

    def refused(self, reason: str, now: int, event_id: str) -> Event:
        """Return the record of a refusal by `identify`. Its principal is "" if the claims do not say who it is."""
        stable_id = principal.stable_id(self.issuer.identity, self.proven.claims)
        sub = principal.sub(self.issuer.url, stable_id) if stable_id else ""
        # SECURITY: by what is proved alone, never by what was asked for. All expired tokens of a principal are one, for
        # they pile up where a good one is gone in minutes (test_a_pile_of_expired_tokens_is_one_event).
        token = "" if reason == "exp_past" else signed_id(self.request.unverified_subject_token)
        return Event(
            id=event_id,
            at=now,
            kind="token.refused",
            request_id=self.request.request_id,
            principal=sub,
            principal_name=self._name(),
            issuer=self.issuer.url,
            key=self.request.audience,
            reason=reason,
            claims=dict(self.proven.claims),
            subject=digest("refused", self.issuer.url, sub, token, reason),
        )

    def _name(self) -> str:
        return str(principal.look_up((self.issuer.label,), self.proven.claims) or "")[:256]
