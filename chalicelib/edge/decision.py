"""Whether a call may go on, decided from one snapshot of the state: no clock, no I/O."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import unquote

from chalicelib import quota
from chalicelib.edge import addresses, method_override
from chalicelib.edge import query as call_query
from chalicelib.edge.call import Call
from chalicelib.edge.errors import (
    AddressRefused,
    CallsUsedUp,
    GrantChanged,
    GrantGone,
    OutOfScope,
    PathClosed,
    Revoked,
    SigningKeyGone,
    Stale,
    TokenInPath,
    UrlTooLong,
)
from chalicelib.edge.state import Snapshot
from chalicelib.edge.token import VerifiedToken
from chalicelib.policy.grants import Grant
from chalicelib.providers import paths
from chalicelib.providers.entry import Provider
from chalicelib.providers.keys import KeyConfig
from chalicelib.providers.presets import PROVIDERS
from chalicelib.quota import Limit
from chalicelib.revocation import stopped

URL_LIMIT = 8192
"""Bytes of a URL's path and query; CloudFront does not send longer ones on."""


class Decision(NamedTuple):
    """A call that may go on."""

    key: KeyConfig
    """The key as it is now."""
    grant: Grant
    """The grant as it is now."""
    call: Call
    """The call in the provider's own form."""


def decide(call: Call, token: VerifiedToken, snapshot: Snapshot, now: int) -> Decision:
    """Return how the call goes on if it is admitted; raises Refusal. now: epoch seconds.

    What stops every call of the token is looked at first, then what stops this one, then the quota, and the body last.
    """
    key, grant = in_force(call.key, token, snapshot, now)
    # SECURITY: from here on the call is what will be sent, not what the caller wrote (test_edge_paths.py).
    call, provider = _fitting(call, token, key, grant), PROVIDERS[key.provider]
    _check_quota(grant.call_limits, snapshot.numbers, now, "of yours")
    if snapshot.total:
        check_total_quota(grant, snapshot.total, now)
    # SECURITY: reading a body is the one thing here that takes long, and a caller beyond its quota does not get it
    # (test_no_body_is_read_beyond_the_quota).
    _check_method(call, token, grant, provider)
    _check_models(call, key, grant)
    return Decision(key, grant, call)


def in_force(named: str, token: VerifiedToken, snapshot: Snapshot, now: int) -> tuple[KeyConfig, Grant]:
    """Return the key and the grant as they are now, if nothing stops every call of the token; raises Refusal.

    named: the key's name. now: epoch seconds.
    """
    _check_revocations(token, snapshot, now)
    if token.kid not in snapshot.signing_keys:
        raise SigningKeyGone
    key, grant = snapshot.key, snapshot.grant
    if key is None or grant is None:
        raise GrantGone
    if grant.key != named or grant.issuer != token.issuer:
        raise GrantChanged
    return key, grant


def check_total_quota(grant: Grant, numbers: Mapping[str, int], now: int) -> None:
    """Raise CallsUsedUp if the call is beyond a limit of all callers. numbers: by window, which one of theirs it is."""
    _check_quota(grant.total_limits, numbers, now, "of all callers together")


def _check_quota(limits: tuple[Limit, ...], numbers: Mapping[str, int], now: int, whose: str) -> None:
    over = quota.exceeded(limits, numbers, now)
    if over:
        raise CallsUsedUp(over, whose)


def _check_revocations(token: VerifiedToken, snapshot: Snapshot, now: int) -> None:
    # SECURITY: as nearly always, and quicker than to ask of each; where nothing was read, that is not equal to nothing
    # (test_untouched_says_what_each_target_says).
    if token.untouched and snapshot.states == token.untouched:
        return
    stop = stopped(snapshot.states, token.epochs, now)
    if stop is None:
        return
    if stop.blocked:
        raise Revoked(stop.scope)
    # A policy that removes a grant ends its tokens, too; that it is gone says more.
    raise GrantGone if snapshot.grant is None and stop.scope == "grant" else Stale(stop.scope)


def _fitting(call: Call, token: VerifiedToken, key: KeyConfig, grant: Grant) -> Call:
    """Return the call as its provider would be sent it, if its path, query and address may be; raises Refusal."""
    known = call.known
    sent = None if known is None else known.provider_form(token, key, grant)
    if sent is None:
        fitting = _to_provider_form(call, PROVIDERS[key.provider])
        _check_paths(fitting, token, grant, key.provider)
        _check_address(fitting, grant)
        if known is not None:
            known.may_go_on(token, key, grant, (fitting.path, fitting.query))
        return fitting
    return call if sent == (call.path, call.query) else replace(call, path=sent[0], query=sent[1])


def _to_provider_form(call: Call, provider: Provider) -> Call:
    """Return the call as its provider would be sent it; raises Refusal if it has no such form."""
    path = paths.to_provider_form(call.path, provider.paths)
    # SECURITY: as in the query (test_token_in_the_path).
    if call.unverified_token in path or ("%" in path and call.unverified_token in unquote(path)):
        raise TokenInPath
    query = call_query.to_provider_form(call.query, provider.token_parameter, call.unverified_token)
    if len(path) + len(query) >= URL_LIMIT:
        raise UrlTooLong(URL_LIMIT)
    return call if (path, query) == (call.path, call.query) else replace(call, path=path, query=query)


def _check_paths(call: Call, token: VerifiedToken, grant: Grant, provider: str) -> None:
    if paths.is_closed(PROVIDERS[provider], call.path):
        raise PathClosed
    for scope in (token.scope, grant.scope):  # the grant's may be narrower by now
        unopened = _unopened(scope, call.method, call.path, provider)
        if unopened is not None:
            raise OutOfScope(call.method, unopened)


@functools.lru_cache(maxsize=256)
def _unopened(scope: tuple[str, ...], method: str, path: str, provider: str) -> str | None:
    """See `paths.unopened`. provider: its name."""
    return paths.unopened(scope, method, path, PROVIDERS[provider])


def _check_address(call: Call, grant: Grant) -> None:
    if grant.source_ips is not None and not addresses.is_within(call.source_ip, grant.source_ips):
        raise AddressRefused


def _check_method(call: Call, token: VerifiedToken, grant: Grant, provider: Provider) -> None:
    if call.method != "POST" or not provider.overrides or _is_open(call, (token.scope, grant.scope), provider):
        return
    # SECURITY: a scope is for a method; a form that its API would take for another is not sent (test_method_in_a_form).
    method_override.check_body(call.body, provider.overrides)


def _is_open(call: Call, scopes: tuple[tuple[str, ...], ...], provider: Provider) -> bool:
    """Whether these scopes open what a POST could be taken for, so that it gains nothing by that."""
    methods = method_override.STRONGER
    return all(paths.scope_opens(scope, method, call.path, provider) for scope in scopes for method in methods)


def _check_models(call: Call, key: KeyConfig, grant: Grant) -> None:
    if grant.models is None:
        return
    from chalicelib.models import selection  # noqa: PLC0415  few grants limit models, and a cold start does without it

    # SECURITY: a model is allowed in every reading of the path that names it (test_model_in_two_readings).
    for path in paths.readings(PROVIDERS[key.provider], call.path):
        found = selection.models(key.provider, paths.scope_value(call.method, path), call.query, call.body)
        selection.check(found, grant.models)
