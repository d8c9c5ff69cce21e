"""The refusals of the exchange: why no token is issued."""

from __future__ import annotations

from typing import Final

from chalicelib.duration import words
from chalicelib.errors import Refusal
from chalicelib.quota import Exceeded
from chalicelib.revocation import EPOCHS
from chalicelib.tokens.errors import CLAIM_REASONS, PROOF_REASONS, RefusedClaimError


class InvalidSubjectToken(Refusal, reason=PROOF_REASONS, error="invalid_grant", status=400):
    """The subject token's form, `typ`, signature, issuer or audience is wrong; only the log says which. Look at each."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason=reason)


class SubjectTokenRefused(Refusal, reason=CLAIM_REASONS, error="invalid_grant", status=400):
    """The caller has proved who it is, and its token is refused all the same; the text names the claim or the limit."""

    def __init__(self, refused: RefusedClaimError, issuer: str, principal: str) -> None:
        about = {"issuer": issuer, **({"principal": principal} if principal else {})}
        super().__init__(f"the identity token is refused: {refused.text}", reason=refused.reason, about=about)


class UnsupportedGrantType(Refusal, reason="grant_type", error="unsupported_grant_type", status=400):
    """The request's `grant_type` is not one that this route takes. Send one that it takes."""

    def __init__(self, *allowed: str) -> None:
        super().__init__(f"grant_type must be {' or '.join(allowed)}")


class NameTheGrant(
    Refusal,
    reason="name_the_grant",
    error="invalid_request",
    status=400,
    text="too many grants to try: name the grant as `grant`",
):
    """The issuer has too many grants for this key to try all of them. Name one as `grant`."""


class AccessRevoked(Refusal, reason=tuple(f"revoked_{scope}" for scope in EPOCHS), error="invalid_grant", status=400):
    """Access is revoked: of everything, the issuer, key, grant or principal. Only an administrator restores it."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"access is revoked ({scope})", reason=f"revoked_{scope}")


class Replayed(
    Refusal,
    reason="replayed",
    error="invalid_grant",
    status=400,
    text="this identity token was used before; get a fresh one",
):
    """The identity token was used before. Get a fresh one from the issuer."""


class IdentityChanged(
    Refusal,
    reason="identity_changed",
    error="invalid_grant",
    status=400,
    text="this ARN is bound to another unique id; if the role was made again, an operator has to re-pin it",
):
    """The ARN is bound to another unique id: the role was made again. An administrator has to bind it anew."""


class TokensUsedUp(Refusal, reason="quota_tokens", error="quota_exceeded", status=429, retryable=True):
    """The grant's quota of tokens is used up. Retry once the window ends (`Retry-After`).

    limit: the limit that one more token would pass.
    """

    def __init__(self, over: Exceeded) -> None:
        text = f"{over.limit} tokens are used up; the window ends in {words(over.retry_after)}"
        super().__init__(text, retry_after=over.retry_after)
        self.limit: Final = over.limit
