"""The refusals of the administrators' door. Its stores raise some of them, which is where a race is decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from chalicelib.errors import Refusal

_LISTED = 20
"""Ids that a text lists at most."""


class NoSuchRevocation(Refusal, reason="no_such_revocation", error="not_found", status=404, text="no such revocation"):
    """No revocation has this id. List them."""


class IdempotencyKeyReused(
    Refusal,
    reason="idempotency_key_reused",
    error="idempotency_key_reused",
    status=422,
    text="this Idempotency-Key was used for a different request; use a new key for each request",
):
    """The Idempotency-Key was sent with another request before. Make a new one for each request."""


class NoSuchPolicyVersion(
    Refusal,
    reason="no_such_policy_version",
    error="not_found",
    status=404,
    text="no such version of the policy is kept, or none was in force at that time as far as is recorded; list them",
):
    """No such version of the policy is kept, or none was in force at that time as far as it is recorded. List them."""


class NoSuchPrincipal(
    Refusal,
    reason="no_such_principal",
    error="not_found",
    status=404,
    text="no principal with this id is known",
):
    """No principal of this id was ever seen, or it is not one that is bound to an AWS id."""


class NeverSeen(Refusal, reason="never_seen", error="not_found", status=404):
    """No such principal or token was ever seen; the text names the nearest ones. Correct it, or revoke it `unseen`."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text}; send unseen (--unseen) to revoke it all the same")


class SeveralPrincipals(Refusal, reason="several_principals", error="ambiguous", status=422):
    """Several principals have this name; the text lists their ids. Send one of them."""

    def __init__(self, name: str, subs: Sequence[str]) -> None:
        more = f", and {len(subs) - _LISTED} more" if len(subs) > _LISTED else ""
        super().__init__(
            f"{len(subs)} principals are called {name[:100]!r}: {', '.join(subs[:_LISTED])}{more}; send an id"
        )


class NoPolicy(Refusal, reason="no_policy", error="not_found", status=404, text="no policy is in force"):
    """No policy is in force yet. Apply one."""


class IfMatchMissing(
    Refusal,
    reason="if_match_missing",
    error="precondition_required",
    status=428,
    text='send If-Match with the ETag of the policy that you planned against ("0" for none)',
):
    """A policy is applied without If-Match. Send the ETag of the policy that was planned against."""


class PolicyRefused(Refusal, error="policy_invalid", status=422):
    """A policy that does not parse, or that lint refuses. errors: faults or findings, as JSON."""

    def __init__(self, errors: Iterable[Mapping[str, object]]) -> None:
        super().__init__()
        self.errors: Final = list(errors)


class FaultyPolicy(PolicyRefused, reason="policy_invalid", text="the policy has faults"):
    """The policy does not parse, or contradicts itself; `errors` lists every fault with its line. Correct them."""


class UnwisePolicy(PolicyRefused, reason="policy_lint", text="the policy does not pass lint"):
    """Lint refuses the policy; `errors` lists every finding. Correct them, or name their rules in `allow`."""
