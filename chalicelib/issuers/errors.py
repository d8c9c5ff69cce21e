"""What goes wrong with issuers: their keys are out of reach, or an AWS identity is not one that is let in."""

from __future__ import annotations

from chalicelib.errors import OperatorNeeded, Refusal, Unavailable


class FetchError(Exception):
    """A document could not be had, or is not what it must be. The reason is a fixed word."""


class IssuerKeysUnavailable(
    Unavailable,
    reason="issuer_keys_unavailable",
    text="the keys of this identity's issuer cannot be fetched just now; try again",
):
    """The issuer's keys cannot be fetched; the log and `policy explain` say why (`cause`). Retry."""


class IssuerKeysUnusable(
    OperatorNeeded,
    reason="issuer_keys_unusable",
    error="server_error",
    text="the keys of this identity's issuer cannot be used; trying again does not help until the broker's operator has looked:"
    " the log and `keybroker policy explain` say why",
):
    """What the issuer answers for its keys is of no use; the log and `policy explain` say why (`cause`). Mend it there."""


class IamIdentityMissing(
    Refusal,
    reason="iam_identity_missing",
    error="access_denied",
    status=403,
    text="sign the request with AWS credentials",
):
    """The request has no AWS identity. Sign it (AWS Signature Version 4)."""


class IamRoot(
    Refusal,
    reason="iam_root",
    error="access_denied",
    status=403,
    text="the account's root user is never let in",
):
    """The request is signed by an account's root user, which gets no token. Sign as a role or user."""


class IamUnknownKind(
    Refusal,
    reason="iam_unknown_kind",
    error="access_denied",
    status=403,
    text="this kind of AWS principal is not supported",
):
    """The request is signed by a kind of AWS principal that gets no token. Sign as a role or user."""
