"""Signs requests as an AWS role or user does, for API Gateway (AWS Signature Version 4, service `execute-api`).

Needs the extra `keybroker[aws]`. botocore finds the credentials where every AWS tool does (variables, profile, SSO, web
identity, container, instance) and renews them; nothing here holds them.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from keybroker.errors import IdentityError, NoIdentity, NotConfigured

if TYPE_CHECKING:
    from botocore.session import Session

SERVICE = "execute-api"
_API_HOST = re.compile(r"\.execute-api\.([a-z0-9-]+)\.(?:vpce\.)?amazonaws\.com(?:\.cn)?")


def sign(method: str, url: str, headers: Mapping[str, str], body: bytes, region: str | None = None) -> dict[str, str]:
    """Return `headers` and those that a signature adds; send them with exactly this method, URL and body.

    url: absolute, percent-encoded as it is sent, its query sorted. body: b"" for none. region: of the API; if left out,
    what the host name says, then AWS_REGION, AWS_DEFAULT_REGION, the profile's. A signature is good for five minutes.
    Raises NoIdentity: there are no AWS credentials here. IdentityError: they are no use, or botocore is not installed.
    NotConfigured: the region is not known.
    """
    try:
        from botocore.auth import SigV4Auth  # noqa: PLC0415  of the extra [aws], and an eighth of a second
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415  as that
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415  as that
    except ImportError:
        raise IdentityError("signing for AWS needs botocore: pip install 'keybroker[aws]'") from None
    try:
        keys = _chain().get_credentials()
        if keys is None:
            text = "no AWS credentials were found: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            raise NoIdentity(text)
        request = AWSRequest(method, url, data=body or None, headers=dict(headers))
        SigV4Auth(keys.get_frozen_credentials(), SERVICE, _region(url, region)).add_auth(request)
    except BotoCoreError as fault:
        raise IdentityError(f"the AWS credentials are no use: {fault}") from None
    return dict(request.headers.items())


@functools.cache
def _chain() -> Session:
    """Where AWS tools look for credentials. Kept: looking takes time, and what is found renews itself."""
    from botocore.session import Session  # noqa: PLC0415  of the extra [aws]

    return Session()


def _region(url: str, given: str | None) -> str:
    # An API's own host name is never wrong about its region; the variables may be about something else.
    host = _API_HOST.search(urlsplit(url).hostname or "")
    found: Any = given or (host and host[1]) or os.environ.get("AWS_REGION") or _chain().get_config_variable("region")
    if not found:
        raise NotConfigured("the AWS region is not known: set AWS_REGION to the region of the broker's API")
    return str(found)
