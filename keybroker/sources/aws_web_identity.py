"""AWS web identity: a JWT for the role from AWS STS, where requests cannot be signed.

The account has to allow it (`iam:EnableOutboundWebIdentityFederation`).
https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html
"""

from __future__ import annotations

from typing import Any

from keybroker.errors import IdentityError
from keybroker.sources import aws_sigv4
from keybroker.sources.identity_request import TIMEOUT, IdentityRequest, check_token
from keybroker.tries import REQUESTS

_LIFETIME = 300  # seconds; AWS's own default


def find(request: IdentityRequest) -> str | None:
    """Return a fresh token from STS; raises IdentityError."""
    if not aws_sigv4.is_installed():
        raise IdentityError("AWS web identity needs botocore: pip install 'botocore>=1.44,<2'")
    import botocore.config  # noqa: PLC0415  botocore is an extra, and slow to import
    import botocore.exceptions  # noqa: PLC0415
    import botocore.session  # noqa: PLC0415

    limits = botocore.config.Config(
        connect_timeout=TIMEOUT / 2,
        read_timeout=TIMEOUT / 2,
        retries={"mode": "standard", "total_max_attempts": REQUESTS},
    )
    region = request.environ.get("AWS_REGION")  # Lambda's variable, which botocore itself does not read
    try:
        sts: Any = botocore.session.get_session().create_client("sts", region_name=region, config=limits)
        response = sts.get_web_identity_token(
            Audience=[request.audience], SigningAlgorithm="ES384", DurationSeconds=_LIFETIME
        )
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise IdentityError(f"AWS STS issued no identity token: {error}{_advice(error)}") from error
    return check_token(str(response["WebIdentityToken"]), "the response from AWS STS")


def _advice(error: Exception) -> str:
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    if code == "OutboundWebIdentityFederationDisabledException":
        return "; run `aws iam enable-outbound-web-identity-federation` once in the account"
    if code.startswith("AccessDenied"):
        return "; allow the role sts:GetWebIdentityToken, conditioned on ForAllValues:StringEquals sts:IdentityTokenAudience"
    return ""
