"""A call with a token -> a call with the key: the second of the two verbs.

The token is verified without state. Then one round trip reads and counts, and a pure decision (decision.py) follows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from chalicelib import rate_limit
from chalicelib.edge.call import Admitted, Call
from chalicelib.edge.counting import CallCount
from chalicelib.edge.decision import Decision, check_total_quota, decide, in_force
from chalicelib.edge.errors import BudgetsNotKept, BudgetUsedUp, CallsUsedUp, InvalidToken, OutOfScope, TokenMissing
from chalicelib.edge.refusal_limit import RefusalLimit
from chalicelib.edge.state import EdgeState
from chalicelib.edge.token import KnownTokens, VerifiedToken
from chalicelib.errors import InternalFault, Refusal, Unavailable
from chalicelib.providers import header_names, paths
from chalicelib.providers.errors import ProviderKeyExpired, ProviderKeyHeaderFixed, ProviderKeyNotMinted
from chalicelib.providers.keys import ProviderKeys
from chalicelib.tokens import issued
from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.tokens.issued import SigningKeys
from chalicelib.tokens.signature_cache import SignatureCache

if TYPE_CHECKING:
    from chalicelib.edge.billing import Bill, Kept
    from chalicelib.tokens.verify import VerifiedSignature

_TRIES = 16
"""How often a call is counted at most, while others that are refused as well have taken what was left for it."""


@dataclass(frozen=True, slots=True)
class Edge:
    """What an admission needs."""

    state: EdgeState
    signing_keys: SigningKeys
    provider_keys: ProviderKeys
    issuer: str
    """The broker's URL, the `iss` of its tokens."""
    url: str = ""
    """The edge's own URL, "" if it is not known."""
    signatures: SignatureCache = field(default_factory=SignatureCache)
    """The signatures verified so far: beside the next two, all that is remembered from call to call."""
    tokens: KnownTokens = field(default_factory=KnownTokens)
    """What those tokens say."""
    refusals: RefusalLimit = field(default_factory=RefusalLimit)
    """Who has been refused too often this minute."""
    budgets: Kept | None = None
    """Where it is kept what models took; None where no answer is seen, and no call is admitted under such a limit."""


def admit(call: Call, edge: Edge, now: int) -> Admitted:
    """Return how a call goes on, or raise Refusal. now: epoch seconds.

    401 where a fresh token would help, 403 where it would not, 429 for quota, 503 (Unavailable) when we cannot tell.
    """
    return finish(begin(call, edge, now), edge)


class Begun(NamedTuple):
    """A call whose token is good, and of which no state is known yet."""

    call: Call
    token: VerifiedToken
    counting: CallCount
    now: int


def begin(call: Call, edge: Edge, now: int) -> Begun:
    """Do what an admission does before it needs the state; raises Refusal. now: epoch seconds.

    A call beyond its token's own scope is refused here, and only counted.
    """
    token = verify(call, edge, now)
    begun = Begun(call, token, CallCount(edge.state, call.key, token, now), now)
    try:
        edge.refusals.check(token, now)
    except Refusal as refusal:
        raise refusal.with_context(about=_about(call, token)) from refusal
    if not paths.scope_may_open(token.scope, call.method, call.path):
        uncounted = _count_refused(begun, OutOfScope.reasons[0], edge)
        raise OutOfScope(call.method, call.path).with_context(about={**_about(call, token), **uncounted})
    return begun


def _count_refused(begun: Begun, reason: str, edge: Edge) -> Mapping[str, str]:
    """Count a call as refused that was not counted before; return what the log says where that fails, as it stays refused."""
    try:
        begun.counting.refuse(reason)
    except Unavailable as fault:
        return {"uncounted": fault.reason, **fault.log_fields()}
    edge.refusals.note(begun.token, begun.counting.refused, begun.now)
    return {}


def finish(begun: Begun, edge: Edge) -> Admitted:
    """Count a call, unless it was with others, and return how it goes on; raises Refusal."""
    try:
        return _admit(begun, edge)
    except Refusal as refusal:
        if refusal.about:
            raise
        raise refusal.with_context(about=_about(begun.call, begun.token)) from refusal


def _about(call: Call, token: VerifiedToken) -> dict[str, str]:
    """Name what was refused as the audit names it, so that one search finds both."""
    return {"key": call.key, "grant": token.grant, "principal": token.principal, "jti": token.jti}


def verify(call: Call, edge: Edge, now: int) -> VerifiedToken:
    """Return what a call's token says once it is verified, without any state; raises TokenMissing, InvalidToken, Unavailable."""
    if not call.unverified_token:
        raise TokenMissing
    try:
        signed = _signed(call, edge, now)
        return edge.tokens.read(signed, edge.issuer, call.key, now)
    except InvalidTokenError as invalid:
        raise InvalidToken(invalid.reason) from None


def _signed(call: Call, edge: Edge, now: int) -> VerifiedSignature:
    """Return the signature of a call's token once it is verified; raises as `verify`."""
    known = call.known
    signed = None if known is None else known.signed
    # SECURITY: as with a signature that is found by its token: a key that is gone verifies nothing
    # (test_a_known_call_needs_the_key_of_its_token).
    if signed is not None and edge.signing_keys.find(signed.key.kid, now) is signed.key:
        return signed
    signed = issued.verify_signature(call.unverified_token, edge.signing_keys, now, edge.signatures)
    if known is not None:
        known.signed = signed
    return signed


def _admit(begun: Begun, edge: Edge) -> Admitted:
    call, token, count, now = begun
    for tries_left in reversed(range(_TRIES)):
        count.read_and_count()
        try:
            return _go_on(call, token, count, edge, now)
        except Refusal as refusal:
            count.give_back(refusal.reason)
            edge.refusals.note(token, count.refused, now)
            is_beyond_quota = isinstance(refusal, CallsUsedUp)
            if not (tries_left and is_beyond_quota and count.has_room()):
                of_budget = refusal.left if isinstance(refusal, BudgetUsedUp) else ()
                left = rate_limit.headers((*count.allowances(), *of_budget))
                raise refusal.with_context(headers=left, about=_about(call, token)) from refusal
        except Exception as fault:
            # A fault of ours takes nothing of a caller's quota either, and is not hidden by another.
            with contextlib.suppress(Unavailable):
                count.give_back(InternalFault(fault).reason)
            raise
    raise AssertionError("the last try returns or raises")


def _go_on(call: Call, token: VerifiedToken, count: CallCount, edge: Edge, now: int) -> Admitted:
    """Return how a call that is counted goes on, or raise Refusal."""
    if count.waits:
        # SECURITY: who is revoked takes no numbers of those who are not (test_a_revoked_flood_takes_no_numbers).
        _, grant = in_force(call.key, token, count.snapshot, now)
        count.take_from_slices(grant)
    decision = decide(call, token, count.snapshot, now)
    if decision.grant.total_limits and not count.has_total:
        check_total_quota(decision.grant, count.count_total(), now)
    if decision.key.is_federated and not decision.key.version:
        raise ProviderKeyNotMinted
    key = edge.provider_keys.get(call.key, decision.key.version)
    if key.has_expired(now):
        raise ProviderKeyExpired
    if header_names.canonical(key.header) in header_names.READ_ONLY:
        # SECURITY: a caller's own could not be taken off, and would be joined with the key (test_key_in_a_fixed_header).
        raise ProviderKeyHeaderFixed
    path, query = decision.call.path, decision.call.query
    bill = _bill(decision, token, edge, now)
    return Admitted(
        key=key,
        principal=token.principal,
        grant=token.grant,
        jti=token.jti,
        path=path,
        query=query,
        give_back=count.give_back if bill is None else _giving_back(count, bill),
        token=token,
        key_name=call.key,
        provider=decision.key.provider,
        bill=bill,
    )


def _bill(decision: Decision, token: VerifiedToken, edge: Edge, now: int) -> Bill | None:
    """Reserve what the call may take, where its grant limits that. It comes last, so that what is reserved is sent."""
    if not decision.grant.budgets:
        return None
    # SECURITY: an edge that cannot hold callers to a limit admits nobody under it (test_no_budgets_no_calls).
    if edge.budgets is None:
        raise BudgetsNotKept
    from chalicelib.edge import billing  # noqa: PLC0415  as for models: most grants need none of it

    return billing.reserve(decision, token.principal, edge.budgets, now)


def _giving_back(count: CallCount, bill: Bill) -> Callable[[str], None]:
    """Return what gives back the numbers of a call that was not sent, and what it has reserved."""
    from chalicelib.models.charge import Ending  # noqa: PLC0415  see `_bill`

    def give_back(reason: str) -> None:
        try:
            bill.settle(Ending.NOT_SENT)
        finally:
            count.give_back(reason)

    return give_back
