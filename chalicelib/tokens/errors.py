"""What goes wrong with tokens: one that does not verify, and signing keys that are out of reach."""

from __future__ import annotations

from typing import Final

from chalicelib.errors import OperatorNeeded, Refusal, Unavailable

PROOF_REASONS = (
    "not_three_segments",
    "too_large",
    "base64_malformed",
    "base64_not_canonical",
    "header_not_json",
    "claims_not_json",
    "json_too_deep",
    "json_not_text",
    "json_key_twice",
    "json_constant",
    "header_unknown",
    "crit_refused",
    "key_in_header",
    "alg_missing",
    "alg_wrong",
    "kid_missing",
    "kid_unknown",
    "kid_wrong",
    "typ_malformed",
    "typ_wrong",
    "signature_missing",
    "signature_wrong",
    "not_a_jwt",
    "claims_ambiguous",
    "iss_missing",
    "iss_wrong",
    "issuer_unknown",
    "aud_wrong",
)
"""Why it is not proved who sends a token: its form, type, signature, issuer and audience. The caller of an exchange is told none."""
CLAIM_REASONS = (
    "exp_past",
    "<claim>_future",
    "lifetime_too_long",
    "identity_missing",
    "jti_malformed",
    "<claim>_missing",
    "<claim>_malformed",
)
"""Why a token is refused although that is proved: the caller of an exchange is told which claim or limit it is."""
REASONS = (*PROOF_REASONS, *CLAIM_REASONS, "ep_malformed", "total_malformed")
"""Why a token does not verify: which rule it breaks. The last two are of our own tokens only."""
KEY_REASONS = (
    "key_without_kid",
    "key_use",
    "key_ops",
    "key_type",
    "key_algorithm",
    "key_malformed",
    "key_size",
    "key_exponent",
    "key_roca",
    "jwks_malformed",
    "jwks_symmetric",
    "jwks_kid_twice",
)
"""Why a key, or a set of them, is not used to verify; such a key counts as one that is not there."""


class InvalidTokenError(Exception):
    """A token, or a key for it, that does not verify. Callers are told nothing but "invalid", unless it is a RefusedClaimError.

    reason: one of REASONS or KEY_REASONS, for the log.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason: Final = reason


class RefusedClaimError(InvalidTokenError):
    """A token that is refused although its signature, issuer and audience hold: its caller may learn why.

    reason: one of CLAIM_REASONS. text: what is wrong, after "the identity token is refused:".
    SECURITY: the text holds names of claims that the issuer's registration names, and lengths of time; never what a claim
    holds (test_a_claim_s_value_is_not_echoed).
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(reason)
        self.text: Final = text


class SigningUnavailable(Unavailable, reason="signing_unavailable"):
    """The signing key cannot be used in time. Retry."""


class SigningKeyMalformed(OperatorNeeded, reason="signing_key_malformed"):
    """The signing key is not one for ES256. The operator has to configure another one."""


class SigningKeysUnavailable(Unavailable, reason="signing_keys_unavailable"):
    """The public halves of the signing keys cannot be read. Retry."""


class NoSuchSigningKey(
    Refusal,
    reason="no_such_signing_key",
    error="not_found",
    status=404,
    text="no signing key of this kid is live; list them, and prepare it first",
):
    """No signing key of this `kid` is live. List them, and prepare it first."""


class SigningKeyTainted(
    Refusal,
    reason="signing_key_tainted",
    error="signing_key_tainted",
    status=409,
    text="this signing key is tainted, and never signs again",
):
    """The signing key is tainted, and never signs again. Prepare another one."""


class SigningKeyTooNew(Refusal, reason="signing_key_too_new", error="signing_key_too_new", status=409, retryable=True):
    """The signing key was prepared only just now, and not every edge knows it; the text says how long to wait."""


class SigningKeyInUse(Refusal, reason="signing_key_in_use", error="signing_key_in_use", status=409):
    """The signing key signs, or a token of it may be alive; the text says for how long. Retire it later, or taint it."""


class NoOtherSigningKey(
    Refusal,
    reason="no_other_signing_key",
    error="no_other_signing_key",
    status=409,
    text="no other signing key is live, and without one no token can be issued; prepare one first",
):
    """No other signing key is live, so that no token could be issued. Prepare one first."""


class NoSpareSigningKey(
    Refusal,
    reason="no_spare_signing_key",
    error="no_spare_signing_key",
    status=409,
    text="every published signing key is live or tainted; publish another one first (docs/operate.md)",
):
    """Every signing key that is published is live or tainted. Publish another one first (docs/operate.md)."""


class SigningKeysChanged(
    Refusal,
    reason="signing_keys_changed",
    error="signing_keys_changed",
    status=409,
    text="another administrator has changed the signing keys meanwhile, and nothing was changed; look, and send yours again",
):
    """Another administrator has changed the signing keys meanwhile. Look at them, and send the request again."""
