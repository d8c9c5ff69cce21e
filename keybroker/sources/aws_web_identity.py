"""AWS: a JWT of AWS's own about the role, from STS; where signing requests is no choice.

The account has to allow it (`iam:EnableOutboundWebIdentityFederation`).
https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html
"""

from __future__ import annotations

from typing import Any

from keybroker.errors import IdentityError
from keybroker.sources import aws_sigv4
from keybroker.sources.checked_token import checked_token
from keybroker.sources.wanted import PATIENCE, Wanted

_LIFETIME = 300  # seconds; AWS's own default


def find(wanted: Wanted) -> str | None:
    """Return a fresh token of STS; raises IdentityError."""
    if not aws_sigv4.present():
        raise IdentityError('what asks AWS for identity tokens is not installed: pip install "keybroker[aws]"')
    import botocore.config  # noqa: PLC0415  botocore is an extra, and takes long to import
    import botocore.exceptions  # noqa: PLC0415
    import botocore.session  # noqa: PLC0415

    bounds = botocore.config.Config(connect_timeout=PATIENCE / 2, read_timeout=PATIENCE, retries={"max_attempts": 1})
    region = wanted.environ.get("AWS_REGION")  # Lambda's variable, which botocore leaves to boto3
    try:
        sts: Any = botocore.session.get_session().create_client("sts", region_name=region, config=bounds)
        answer = sts.get_web_identity_token(
            Audience=[wanted.audience], SigningAlgorithm="ES384", DurationSeconds=_LIFETIME
        )
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as fault:
        raise IdentityError(f"AWS STS gave no identity token: {fault}{_advice(fault)}") from fault
    return checked_token(str(answer["WebIdentityToken"]), "the answer of AWS STS")


def _advice(fault: Exception) -> str:
    code = getattr(fault, "response", {}).get("Error", {}).get("Code", "")
    if code == "OutboundWebIdentityFederationDisabledException":
        return "; run `aws iam enable-outbound-web-identity-federation` once for the account"
    if code.startswith("AccessDenied"):
        return "; allow the role sts:GetWebIdentityToken, conditioned on ForAllValues:StringEquals sts:IdentityTokenAudience"
    return ""
