"""Subject token -> issued token: the first of the two verbs (RFC 8693, RFC 7523)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from chalicelib import principal, quota, rate_limit
from chalicelib.audit import Event
from chalicelib.errors import Refusal
from chalicelib.exchange import issued_under
from chalicelib.exchange.caller import Sender
from chalicelib.exchange.errors import (
    AccessRevoked,
    InvalidSubjectToken,
    NameTheGrant,
    SubjectTokenRefused,
    TokensUsedUp,
)
from chalicelib.exchange.ledger import ExchangeState, Issuance, Ledger, Pin, StateQuery
from chalicelib.exchange.replay import ReplayKey, digest, make_lock
from chalicelib.exchange.request import TokenRequest
from chalicelib.federation import assertion
from chalicelib.issuers.aws import AwsIdentity
from chalicelib.issuers.registry import Issuer, KeySource
from chalicelib.policy import grants
from chalicelib.policy.errors import NoGrant
from chalicelib.policy.grants import Grant
from chalicelib.principal import AWS, Identity, Principal, RefusedValues
from chalicelib.providers.keys import KeyConfig
from chalicelib.providers.presets import PROVIDERS
from chalicelib.quota import Allowance
from chalicelib.revocation import EPOCHS, EVERYTHING, RevocationState, RevocationTarget
from chalicelib.tokens import jws
from chalicelib.tokens import verify as tokens
from chalicelib.tokens.errors import InvalidTokenError, RefusedClaimError
from chalicelib.tokens.issued import SigningKeys
from chalicelib.tokens.signer import IssuedToken, Signer

__all__ = ["Broker", "TokenRequest", "exchange"]


@dataclass(frozen=True, slots=True)
class Broker:
    """What an exchange needs."""

    ledger: Ledger
    """State and audit."""
    keys: KeySource
    """Issuers' public keys."""
    signer: Signer
    """Signs the tokens that are issued."""
    signing_keys: SigningKeys
    """Verifies tokens that were issued, for the holder who revokes one."""
    url: str
    """The broker's own URL, the `iss` of its tokens."""
    edge_url: str
    """Where calls go."""
    identities: frozenset[Identity]
    """How principals may be named: the claims of a stable id, by issuer."""
    practice_ttl: int | None = None
    """Seconds that every token lives, for tests of expiry; None elsewhere."""


def exchange(request: TokenRequest, broker: Broker, now: int, new_id: Callable[[], str]) -> IssuedToken:
    """Return an issued token for a subject token, or raise Refusal.

    Once signature, issuer and audience hold, the refusal says what it is about and is audited; until then, neither.

    now: epoch seconds. new_id: makes an unguessable id. Raises Unavailable: nothing was issued.
    """
    try:
        unverified = jws.parse(request.unverified_subject_token)
        found, issuer = _find(request, unverified, broker, now)
        key = broker.keys.find(issuer, unverified.kid, unverified.alg, now)
        proven = tokens.prove(unverified, key, issuer.expected())
    except InvalidTokenError as invalid:
        # SECURITY: until it is proved who sends a token, nobody is told what is wrong with it (test_reason_by_reason).
        raise InvalidSubjectToken(invalid.reason) from None
    sender = Sender(request, proven, issuer)
    try:
        caller = sender.identify(now)
    except RefusedClaimError as refused:
        event = sender.refused(refused.reason, now, new_id())
        broker.ledger.record(event)
        raise SubjectTokenRefused(refused, event.issuer, event.principal) from None
    verified = _Verified(request, caller.principal, caller.claims, issuer.refused, caller.replay_key, None, found, now)
    return _issue_or_audit(verified, broker, new_id)


def exchange_iam(
    request: TokenRequest, identity: AwsIdentity, broker: Broker, now: int, new_id: Callable[[], str]
) -> IssuedToken:
    """Return an issued token for a caller that API Gateway authenticated by IAM; else as `exchange`.

    The first token binds the ARN to its unique id; a re-created role of that name is refused `identity_changed`.
    """
    caller = Principal(AWS, identity.arn, identity.arn.rpartition(":")[2])
    targets = (
        EVERYTHING,
        RevocationTarget("issuer", AWS),
        RevocationTarget("key", request.audience),
        RevocationTarget("principal", caller.sub),
    )
    found = broker.ledger.find(StateQuery(targets, AWS, request.audience, request.grant, now))
    replay_key = ReplayKey(identity.arn, now + tokens.TTL_CEILING, single_use=False)
    pin = Pin(caller.sub, identity.unique_id)
    verified = _Verified(request, caller, tokens.iam_claims(identity.claims()), (), replay_key, pin, found, now)
    return _issue_or_audit(verified, broker, new_id)


@dataclass(frozen=True, slots=True)
class _Verified:
    """A caller whose identity is verified; how it was verified makes no difference from here on."""

    request: TokenRequest
    caller: Principal
    claims: tokens.Claims
    refused: RefusedValues
    """Values of claims that the issuer's preset refuses unless a grant lists them."""
    replay_key: ReplayKey
    pin: Pin | None
    """The unique id of an AWS caller."""
    found: ExchangeState
    """What was read before the caller was verified."""
    now: int
    """Epoch seconds."""

    def event(self, event_id: str) -> Event:
        """The record of a refusal, until it is replaced by one of an issuance."""
        return Event(
            id=event_id,
            at=self.now,
            kind="token.refused",
            request_id=self.request.request_id,
            principal=self.caller.sub,
            principal_name=self.caller.name,
            issuer=self.caller.issuer,
            key=self.request.audience,
            claims=dict(self.claims),
            detail={"unique_id": self.pin.unique_id} if self.pin else {},
        )


class _Choice(NamedTuple):
    """What a caller may have a token for. states: of everything that could block it, by scope."""

    grant: Grant
    key: KeyConfig
    states: Mapping[str, RevocationState]


def _find(request: TokenRequest, unverified: jws.Unverified, broker: Broker, now: int) -> tuple[ExchangeState, Issuer]:
    url = jws.unverified_issuer(unverified.unverified_claims)
    if url is None:  # text that cannot be an issuer's URL is an issuer that is not registered
        is_text = isinstance(unverified.unverified_claims.get("iss"), str)
        raise InvalidTokenError("issuer_unknown" if is_text else "iss_missing")
    # SECURITY: what proves us to providers lets nobody in here, whatever the policy says (test_our_own_assertion_is_refused).
    if assertion.is_ours(url, broker.url):
        raise InvalidTokenError("issuer_unknown")
    subs = principal.candidates(url, broker.identities, unverified.unverified_claims)
    targets = (
        EVERYTHING,
        RevocationTarget("issuer", url),
        RevocationTarget("key", request.audience),
        *(RevocationTarget("principal", s) for s in subs),
    )
    found = broker.ledger.find(StateQuery(targets, url, request.audience, request.grant, now))
    if found.issuer is None or url == AWS:
        raise InvalidTokenError("issuer_unknown")
    return found, found.issuer


def _issue_or_audit(verified: _Verified, broker: Broker, new_id: Callable[[], str]) -> IssuedToken:
    event = verified.event(new_id())
    grant = None
    try:
        choice = _choose(verified)
        grant = choice.grant
        _check_blocks(choice.states, verified.now)
        return _issue(verified, choice, broker, new_id)
    except Refusal as refusal:
        if refusal.status != 503:
            # SECURITY: by what is verified alone, never by what was asked for, or one token would fill the audit
            # (test_a_token_refused_again_is_counted).
            subject = digest("refused", verified.caller.sub, verified.replay_key.id, refusal.reason)
            named = grant.name if grant else ""
            broker.ledger.record(replace(event, reason=refusal.reason, grant=named, subject=subject))
        if grant is None:
            raise
        about = {"key": grant.key, "grant": grant.name, "principal": verified.caller.sub}
        headers = rate_limit.headers(_allowances(verified, grant, refusal=refusal))
        raise refusal.with_context(about=about, headers=headers) from refusal


def _allowances(
    verified: _Verified, grant: Grant, *, issued: int = 0, refusal: Refusal | None = None
) -> tuple[Allowance, ...]:
    """What is left of a grant's tokens to this caller after `issued` more: by what was read, and what was refused."""
    now = verified.now
    counters = quota.counters("tokens", grant.name, verified.caller.sub, now)
    taken = {one.window: verified.found.taken.get(one, 0) + issued for one in counters}
    if isinstance(refusal, TokensUsedUp):  # the transaction counts; what was read before it is older
        taken[refusal.limit.window] = refusal.limit.count
    return quota.allowances(grant.token_limits, taken, now)


def _choose(verified: _Verified) -> _Choice:
    request, found = verified.request, verified.found
    if found.key is None:
        raise NoGrant(f"no grant admits this identity for {request.audience!r}")
    if found.grants is None:
        raise NameTheGrant
    fitting = [
        (grant, state)
        for grant, state in found.grants
        if (grant.issuer, grant.key) == (verified.caller.issuer, request.audience)
    ]
    grant = grants.choose([one for one, _ in fitting], verified.claims, verified.refused, request.audience)
    return _Choice(grant, found.key, _states(verified, grant, dict(fitting)[grant]))


def _states(verified: _Verified, grant: Grant, of_grant: RevocationState) -> dict[str, RevocationState]:
    states = verified.found.states
    return {
        "everything": states[EVERYTHING],
        "issuer": states[RevocationTarget("issuer", verified.caller.issuer)],
        "key": states[RevocationTarget("key", grant.key)],
        "grant": of_grant,
        "principal": states[RevocationTarget("principal", verified.caller.sub)],
    }


def _check_blocks(states: Mapping[str, RevocationState], now: int) -> None:
    for scope, state in states.items():
        if state.blocked(now):
            raise AccessRevoked(scope)


def _issue(verified: _Verified, choice: _Choice, broker: Broker, new_id: Callable[[], str]) -> IssuedToken:
    grant = choice.grant
    claims = _claims(verified, choice, broker, new_id())
    event = replace(
        verified.event(new_id()),
        kind="token.issued",
        grant=grant.name,
        jti=str(claims["jti"]),
        expires=int(str(claims["exp"])),
    )
    now = verified.now
    counters = quota.counters("tokens", grant.name, verified.caller.sub, now)
    counted = tuple((counter, grant.token_limits) for counter in counters)
    signs = broker.signer.kid(verified.found.signs)
    issuance = Issuance(
        issued_under.noted(event, signs, choice.states),
        counted,
        make_lock(verified.request, verified.caller, verified.replay_key, grant.name, claims),
        verified.pin,
    )
    header = {"typ": tokens.ISSUED_TYPE, "kid": signs}
    # SECURITY: the signature is made beside the transaction and thrown away unless the transaction holds
    # (test_nothing_is_issued_without_its_record).
    pending = broker.signer.begin(header, claims)
    before = broker.ledger.issue(issuance, now)
    if before is not None:
        claims, pending = before, broker.signer.begin(header, before)
    return IssuedToken(
        access_token=pending.result(),
        expires_in=int(str(claims["exp"])) - now,
        scope=str(claims["scope"]),
        base_url=f"{broker.edge_url}/{grant.key}{PROVIDERS[choice.key.provider].base_path}",
        allowances=_allowances(verified, grant, issued=int(before is None)),
    )


def _claims(verified: _Verified, choice: _Choice, broker: Broker, jti: str) -> Mapping[str, object]:
    grant = choice.grant
    scope = grants.narrow(grant, verified.request.scope, PROVIDERS[choice.key.provider])
    ttl = broker.practice_ttl or min(grant.ttl, tokens.TTL_CEILING)
    claims = {
        "iss": broker.url,
        "sub": verified.caller.sub,
        "aud": grant.key,
        "client_id": verified.caller.sub,
        "scope": " ".join(scope),
        "grant": grant.name,
        "idp": verified.caller.issuer,
        "ep": [choice.states[name].epoch for name in EPOCHS],
        "iat": verified.now,
        "nbf": verified.now,
        "exp": verified.now + ttl,
        "jti": jti,
    }
    # Tells the edge to count among all callers of the grant, too, in its one round trip (docs/adr/0003-one-round-trip.md).
    return {**claims, "total": True} if grant.total_limits else claims
