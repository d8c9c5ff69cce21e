"""Which changes of a policy end the tokens issued before them: those after which fewer identities are admitted.

What a token opens (scope, models, addresses, limits) is read with every call. To whom it was issued is not, and so the
epoch of its grant, or of its issuer, goes up.
"""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.issuers.registry import Issuer
from chalicelib.policy import stored
from chalicelib.policy.compile import Policy
from chalicelib.policy.coverage import admits_all
from chalicelib.policy.grants import Grant
from chalicelib.principal import AWS, RefusedValues
from chalicelib.revocation import RevocationTarget
from chalicelib.tokens import jwk


def refused_values(policy: Policy) -> Mapping[str, RefusedValues]:
    """Return, by issuer's URL, what each refuses unless a grant lists it."""
    return {issuer.url: issuer.refused for issuer in policy.issuers.values()}


def epoch_rises(
    target: RevocationTarget, was: str | None, will: str | None, refused: Mapping[str, RefusedValues]
) -> bool:
    """Whether storing `will` in place of `was` (texts of `stored.configs`, None for none) ends the target's tokens.

    refused: as `refused_values` of the policy that is applied.
    """
    if was is None or was == will or target.id == AWS:
        return False
    if target.scope == "grant":
        return ends_grant(stored.read_grant(was), stored.read_grant(will) if will else None, refused)
    if target.scope == "issuer":
        return ends_issuer(stored.read_issuer(was), stored.read_issuer(will) if will else None)
    return False


def ends_grant(old: Grant, new: Grant | None, refused: Mapping[str, RefusedValues]) -> bool:
    """Whether some identity that `old` admitted is not certainly admitted by `new` (None: the grant is removed)."""
    # SECURITY: a grant that is removed and comes back narrower must not revive its tokens (test_removed_grant_comes_back).
    return new is None or old.issuer != new.issuer or not admits_all(new, old, refused.get(new.issuer, ()))


def ends_issuer(old: Issuer, new: Issuer | None) -> bool:
    """Whether some identity token that `old` accepted is not certainly accepted by `new` (None: it is removed)."""
    if new is None or (old.url, old.preset, old.identity) != (new.url, new.preset, new.identity):
        return True
    if not set(old.audiences) <= set(new.audiences):
        return True
    wider = set(old.algorithms) <= set(new.algorithms) and set(new.required) <= set(old.required)
    return not (wider and _refuses_no_more(old, new) and old.max_lifetime <= new.max_lifetime and _keeps_keys(old, new))


def _refuses_no_more(old: Issuer, new: Issuer) -> bool:
    before = dict(old.refused)
    return all(set(values) <= set(before.get(claim, ())) for claim, values in new.refused)


def _keeps_keys(old: Issuer, new: Issuer) -> bool:
    """Whether keys are still fetched, or every key that was uploaded to verify with is still there."""
    if old.jwks is None or new.jwks is None:
        return old.jwks is new.jwks
    # A trust domain's file also has its X.509 authorities, which come and go.
    signing = [key for key in old.jwks["keys"] if key.get("use", jwk.SIGNING_USE) in old.key_uses]
    return all(key in new.jwks["keys"] for key in signing)
