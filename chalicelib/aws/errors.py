"""What an error of AWS says: what may be logged of it, and whether anything was done."""

from __future__ import annotations

import botocore.exceptions

from chalicelib.aws.round_trip import THROTTLED, RequestFailed

REFUSED = THROTTLED.union(
    "AccessDeniedException ExpiredTokenException IncompleteSignatureException InvalidSignatureException".split(),  # noqa: SIM905
    "MissingAuthenticationTokenException UnrecognizedClientException ResourceNotFoundException".split(),  # noqa: SIM905
    "IdempotentParameterMismatchException TransactionCanceledException ValidationException".split(),  # noqa: SIM905
)
"""DynamoDB's codes for a request of which nothing was done. Any other leaves it open, `InternalServerError` above all."""
UNSENT = (
    botocore.exceptions.EndpointConnectionError,
    botocore.exceptions.ConnectTimeoutError,
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.CredentialRetrievalError,
)
"""What fails before anything is sent."""


def error_code(error: BaseException) -> str:
    """Return the word by which AWS refused us, e.g. `AccessDeniedException`, "" if it was not AWS.

    SECURITY: never its text, which can quote what was sent (test_errors.py).
    """
    if isinstance(error, RequestFailed):
        return error.code
    if not isinstance(error, botocore.exceptions.ClientError):
        return ""
    code = error.response.get("Error", {}).get("Code")
    return code if isinstance(code, str) and code.isalnum() and len(code) <= 64 else ""
