"""Signs requests as an AWS role or user does, for API Gateway (AWS Signature Version 4, service `execute-api`).

Needs the extra `keybroker[aws]`. botocore finds the credentials where every AWS tool does (variables, profile, SSO, web
identity, container, instance) and renews them; nothing is stored here.
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
    """Return `headers` and those that the signature adds; send them with exactly this method, URL and body.

    url: absolute, percent-encoded as it is sent, its query sorted. body: b"" for none. region: of the API; by default what
    the host name says, then AWS_REGION, AWS_DEFAULT_REGION, the profile's. A signature is valid for five minutes.
    Raises NoIdentity: there are no AWS credentials. IdentityError: they cannot be used, or botocore is not installed.
    NotConfigured: the region is not known.
    """
    try:
        from botocore.auth import SigV4Auth  # noqa: PLC0415  an extra, and an eighth of a second to import
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415  as that
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415  as that
    except ImportError:
        raise IdentityError("signing AWS requests needs botocore: pip install 'botocore>=1.44,<2'") from None
    try:
        credentials = _chain().get_credentials()
        if credentials is None:
            raise NoIdentity(
                "no AWS credentials found: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        request = AWSRequest(method, url, data=body or None, headers=dict(headers))
        SigV4Auth(credentials.get_frozen_credentials(), SERVICE, _region(url, region)).add_auth(request)
    except BotoCoreError as error:
        raise IdentityError(f"the AWS credentials cannot be used: {error}") from None
    return dict(request.headers.items())


@functools.cache
def _chain() -> Session:
    """Return the session that finds credentials. Cached: the search takes time, and its result renews itself."""
    from botocore.session import Session  # noqa: PLC0415  an extra

    return Session()


def forget() -> None:
    """Look for the credentials anew at the next request: those that were found are no use any more."""
    _chain.cache_clear()


def _region(url: str, given: str | None) -> str:
    # An API's own host name is never wrong about its region; the variables may be meant for something else.
    host = _API_HOST.search(urlsplit(url).hostname or "")
    found: Any = given or (host and host[1]) or os.environ.get("AWS_REGION") or _chain().get_config_variable("region")
    if not found:
        raise NotConfigured("unknown AWS region: set AWS_REGION to the region of the broker's API")
    return str(found)
