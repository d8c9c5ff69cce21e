"""A call with a token -> a call with the key: the second of the two verbs.

First what needs no state, then one wave of state access, then a pure decision.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from chalicelib import quota, rate_limit
from chalicelib.edge import addresses as source_address
from chalicelib.edge import query as call_query
from chalicelib.edge import state as edge_state
from chalicelib.edge.errors import (
    AddressRefused,
    CallsUsedUp,
    GrantChanged,
    GrantGone,
    InvalidToken,
    OutOfScope,
    PathClosed,
    Revoked,
    SigningKeyGone,
    Stale,
    TokenMissing,
    UrlTooLong,
)
from chalicelib.edge.state import EdgeState, Snapshot
from chalicelib.errors import Refusal
from chalicelib.models.body import NOT_SHOWN, CallBody
from chalicelib.policy.grants import Grant
from chalicelib.providers import keys as providers
from chalicelib.providers import paths as call_path
from chalicelib.providers.keys import PROVIDERS, KeyConfig, Provider, ProviderKey, ProviderKeys
from chalicelib.quota import Allowance, Limit
from chalicelib.revocation import EPOCHS, RevocationTarget, stopped
from chalicelib.tokens import issued as issued_tokens
from chalicelib.tokens import verify as tokens
from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.tokens.issued import SigningKeys
from chalicelib.tokens.seen import SeenSignatures

_OF_ALL = "of all callers together"
_TRIES = 8
"""How often a call is counted at most, when others that were refused as well had taken what was left for it."""
_URL_LIMIT = 8192
"""Bytes: CloudFront sends on none that is longer."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a caller attempts: one method on one path of one key. path: from `/`; query: both as the caller writes them.

    source_ip: the caller's address as the edge saw it; "" if it did not. body: read only where a grant limits models.
    """

    unverified_token: str
    key: str
    method: str
    path: str
    source_ip: str = ""
    body: CallBody = NOT_SHOWN
    query: str = ""

    def __repr__(self) -> str:
        # SECURITY: a token must not reach a log by way of a repr (test_canary.py).
        return f"Call(key={self.key!r}, method={self.method!r}, path={self.path!r})"


@dataclass(frozen=True, slots=True)
class Edge:
    """What an admission needs. issuer: the broker's URL, the `iss` of its tokens. url: the edge's own, "" if unknown.

    seen: remembers signatures from call to call, and nothing else.
    """

    state: EdgeState
    signing_keys: SigningKeys
    provider_keys: ProviderKeys
    issuer: str
    url: str = ""
    seen: SeenSignatures = field(default_factory=SeenSignatures)


class Admitted(NamedTuple):
    """A call that may go on: where to, with which key. principal, grant, jti: for the log.

    path, query: in the provider's own form; they are what was checked, and no others may be sent.
    """

    key: ProviderKey
    principal: str
    grant: str
    jti: str
    path: str = "/"
    query: str = ""

    def __repr__(self) -> str:
        # SECURITY: a query may be anything, and the key redacts itself (test_canary.py).
        return f"Admitted(key={self.key!r}, principal={self.principal!r}, grant={self.grant!r}, path={self.path!r})"


class Decision(NamedTuple):
    """A call that may go on. key, grant: as they are now. call: in the provider's own form."""

    key: KeyConfig
    grant: Grant
    call: Call


def admit(call: Call, edge: Edge, now: int) -> Admitted:
    """Return how a call goes on, or raise Refusal. now: epoch seconds.

    401 where a fresh token would help, 403 where it would not, 429 for quota, 503 (Unavailable) when we cannot tell.
    """
    claims, kid = _verify(call, edge, now)
    try:
        return _admit(call, claims, kid, edge, now)
    except Refusal as refusal:
        # Named as the audit names them, so that one search finds both.
        named = {"grant": str(claims["grant"]), "principal": str(claims["sub"]), "jti": str(claims["jti"])}
        raise refusal.with_context(about={"key": call.key, **named}) from refusal


def _admit(call: Call, claims: tokens.Claims, kid: str, edge: Edge, now: int) -> Admitted:
    if not providers.may_open(_scope(claims), call.method, call.path):
        raise OutOfScope(call.method, call.path)
    targets, grant_name, sub = _things(call, claims), str(claims["grant"]), str(claims["sub"])
    own = quota.counters("calls", grant_name, sub, now)
    of_all = functools.partial(quota.counters, "calls", grant_name, quota.EVERYBODY, now)
    counted, again = own + of_all() if claims.get("total") else own, ""
    for left in reversed(range(_TRIES)):
        snapshot = edge.state.read_and_count(targets, own, counted[len(own) :], again)
        try:
            config, grant, onward = decide(call, claims, kid, snapshot, now)
            if grant.total_limits and counted == own:
                # The grant got a `total` after this token was issued. The tokens that follow say so and spare this wave.
                snapshot = snapshot._replace(total=edge.state.count(of_all()))
                counted = own + of_all()
                _check_quota(grant.total_limits, snapshot.total, now, _OF_ALL)
            key = edge.provider_keys.get(call.key, config.version)
        except Refusal as refusal:
            edge.state.give_back(counted, refusal.reason)
            over_quota = isinstance(refusal, CallsUsedUp)
            if not left or not over_quota or not edge_state.has_room(edge.state, snapshot, counted):
                raise refusal.with_context(headers=rate_limit.headers(_allowances(snapshot, now))) from refusal
            again = refusal.reason
        else:
            return Admitted(key, sub, grant_name, str(claims["jti"]), onward.path, onward.query)
    raise AssertionError("the last try returns or raises")


def _things(call: Call, claims: tokens.Claims) -> dict[str, RevocationTarget]:
    return {
        "everything": RevocationTarget("everything", "*"),
        "issuer": RevocationTarget("issuer", str(claims["idp"])),
        "key": RevocationTarget("key", call.key),
        "grant": RevocationTarget("grant", str(claims["grant"])),
        "principal": RevocationTarget("principal", str(claims["sub"])),
        "token": RevocationTarget("token", str(claims["jti"])),
    }


def _allowances(snapshot: Snapshot, now: int) -> tuple[Allowance, ...]:
    """What is left to a caller whose call is refused, for a refused call takes nothing."""
    grant = snapshot.grant
    if grant is None:
        return ()
    own, total = (
        {window: number - 1 for window, number in numbers.items()} for numbers in (snapshot.numbers, snapshot.total)
    )
    left = quota.allowances(grant.call_limits, own, now)
    return left + quota.allowances(grant.total_limits if total else (), total, now, shared=True)


def _verify(call: Call, edge: Edge, now: int) -> tuple[tokens.Claims, str]:
    if not call.unverified_token:
        raise TokenMissing
    try:
        signed = issued_tokens.signed(call.unverified_token, edge.signing_keys, now, edge.seen)
        return issued_tokens.check(signed, edge.issuer, call.key, now), signed.key.kid
    except InvalidTokenError as invalid:
        raise InvalidToken(invalid.reason) from None


def _scope(claims: tokens.Claims) -> tuple[str, ...]:
    return tuple(str(claims["scope"]).split(" "))


def _check_scope(scope: tuple[str, ...], call: Call) -> None:
    if not providers.opens(scope, call.method, call.path):
        raise OutOfScope(call.method, call.path)


def _own(call: Call, provider: Provider) -> Call:
    """Return the call as it goes on to its provider; raises Refusal if it has no such form."""
    path = call_path.to_provider_form(call.path, provider.paths)
    query = call_query.to_provider_form(call.query, provider.token_parameter, call.unverified_token)
    if len(path) + len(query) >= _URL_LIMIT:
        raise UrlTooLong(_URL_LIMIT)
    return call if (path, query) == (call.path, call.query) else replace(call, path=path, query=query)


def decide(call: Call, claims: tokens.Claims, kid: str, snapshot: Snapshot, now: int) -> Decision:
    """Return how the call goes on if it is admitted, from facts alone; raises Refusal."""
    stop = stopped(snapshot.states, _epochs(claims), now)
    if stop and stop.blocked:
        raise Revoked(stop.scope)
    if stop:
        raise Stale(stop.scope)
    if kid not in snapshot.signing_keys:
        raise SigningKeyGone
    key, grant = snapshot.key, snapshot.grant
    if key is None or grant is None:
        raise GrantGone
    if grant.key != call.key or grant.issuer != claims["idp"]:
        raise GrantChanged
    provider = PROVIDERS[key.provider]
    # SECURITY: from here on the call is what will be sent, and no longer what the caller wrote (test_edge_paths.py).
    call = _own(call, provider)
    if providers.closed(provider, call.path):
        raise PathClosed
    _check_scope(_scope(claims), call)
    _check_scope(grant.scope, call)
    if grant.source_ips is not None and not source_address.is_within(call.source_ip, grant.source_ips):
        raise AddressRefused
    if grant.models is not None:
        from chalicelib.models import selection as model_selection  # noqa: PLC0415  few grants limit models, and a cold start does without it

        scope = providers.scope_value(call.method, call.path)
        found = model_selection.models(key.provider, scope, call.query, call.body)
        model_selection.check(found, grant.models)
    _check_quota(grant.call_limits, snapshot.numbers, now, "of yours")
    if snapshot.total:
        _check_quota(grant.total_limits, snapshot.total, now, _OF_ALL)
    return Decision(key, grant, call)


def _check_quota(limits: tuple[Limit, ...], numbers: Mapping[str, int], now: int, whose: str) -> None:
    over = quota.exceeded(limits, numbers, now)
    if over:
        raise CallsUsedUp(over, whose)


def _epochs(claims: Mapping[str, object]) -> dict[str, int]:
    """The epochs a token carries, by scope; the token itself is at 0, so a token that was ever revoked stays dead."""
    carried = claims["ep"]
    numbers = carried if isinstance(carried, list) and len(carried) == len(EPOCHS) else [-1] * len(EPOCHS)
    return {**dict(zip(EPOCHS, numbers, strict=True)), "token": 0}
