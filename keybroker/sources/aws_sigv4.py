"""AWS: whoever has AWS credentials signs the request itself, so there is no identity token."""

from __future__ import annotations

from keybroker.errors import IdentityError, KeybrokerError, NoIdentity
from keybroker.sources.wanted import Wanted

_SIGNS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_EXECUTION_ENV",
)
"""Variables that say that there are AWS credentials here."""


def find(wanted: Wanted) -> str | None:
    """Return "" if there are AWS credentials, None if not; raises IdentityError if what reads them is not installed."""
    if not present():
        hint = next((name for name in _SIGNS if wanted.environ.get(name)), None)
        if hint is not None:
            raise IdentityError(
                f'{hint} is set, and what signs with AWS credentials is not installed: pip install "keybroker[aws]"'
            )
        return None
    from keybroker import aws  # noqa: PLC0415  botocore is an extra, and takes long to import

    try:
        aws.sign("POST", "https://keybroker.invalid/token/iam", {}, b"", "us-east-1")
    except NoIdentity:
        return None
    except KeybrokerError as fault:
        raise IdentityError(str(fault)) from fault
    return ""


def present() -> bool:
    """Say whether botocore is installed."""
    from importlib.util import find_spec  # noqa: PLC0415  needed here alone

    return find_spec("botocore") is not None
