"""AWS credentials: they sign the request itself, so there is no identity token."""

from __future__ import annotations

from keybroker.errors import IdentityError, KeybrokerError, NoIdentity
from keybroker.sources.identity_request import IdentityRequest

_HINTS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_EXECUTION_ENV",
)
"""Variables that say that AWS credentials are meant to be here."""


def find(request: IdentityRequest) -> str | None:
    """Return "" if there are AWS credentials, None if not; raises IdentityError if botocore is missing or finds them broken."""
    if not is_installed():
        hint = next((name for name in _HINTS if request.environ.get(name)), None)
        if hint is not None:
            raise IdentityError(
                f"{hint} is set, but signing with AWS credentials needs botocore: pip install 'botocore>=1.44,<2'"
            )
        return None
    from keybroker import aws  # noqa: PLC0415  botocore is an extra, and slow to import

    try:
        aws.sign("POST", "https://keybroker.invalid/token/iam", {}, b"", "us-east-1")
    except NoIdentity:
        return None
    except KeybrokerError as error:
        raise IdentityError(str(error)) from error
    return ""


def is_installed() -> bool:
    """Return whether botocore is installed."""
    from importlib.util import find_spec  # noqa: PLC0415  only needed here

    return find_spec("botocore") is not None
