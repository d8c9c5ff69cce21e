"""What goes wrong with tokens: one that does not verify, and signing keys that are out of reach."""

from __future__ import annotations

from typing import Final

from chalicelib.errors import OperatorNeeded, Unavailable

REASONS = (
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
    "jti_malformed",
    "identity_missing",
    "aud_wrong",
    "exp_past",
    "<claim>_future",
    "lifetime_too_long",
    "ep_malformed",
    "total_malformed",
    "<claim>_missing",
    "<claim>_malformed",
)
"""Why a token does not verify: which rule it breaks."""
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
    """A token, or a key for it, that does not verify. Callers are told nothing but "invalid".

    reason: one of REASONS or KEY_REASONS, for the log.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason: Final = reason


class SigningUnavailable(Unavailable, reason="signing_unavailable"):
    """The signing key cannot be used in time. Retry."""


class SigningKeyMalformed(OperatorNeeded, reason="signing_key_malformed"):
    """The signing key is not one for ES256. The operator has to configure another one."""


class SigningKeysUnavailable(Unavailable, reason="signing_keys_unavailable"):
    """The public halves of the signing keys cannot be read. Retry."""
