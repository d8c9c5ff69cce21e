"""What an error of AWS says that may be logged."""

from __future__ import annotations

import botocore.exceptions


def error_code(error: BaseException) -> str:
    """Return the word by which AWS refused us, e.g. `AccessDeniedException`, "" if it was not AWS.

    SECURITY: never its text, which can quote what was sent (test_errors.py).
    """
    if not isinstance(error, botocore.exceptions.ClientError):
        return ""
    code = error.response.get("Error", {}).get("Code")
    return code if isinstance(code, str) and code.isalnum() and len(code) <= 64 else ""
