"""AWS as our issuer: an assertion of the caller's own role from STS, so that there is no signing key of ours at all.

The account has to allow it (`aws iam enable-outbound-web-identity-federation`).
https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aws import clients
from chalicelib.aws.errors import error_code
from chalicelib.federation.exchange import MintError
from chalicelib.providers.federated import AWS_STS, SIGNED_BY

_SHORTEST, _LONGEST = 60, 3600
"""Seconds that STS lets a token live."""


def assertion(audience: str, life: int, algorithms: Sequence[str], region: str = "") -> str:
    """Return an assertion of the caller's role; raises MintError. life: seconds. region: by default, the environment's."""
    algorithm = next(one for one in SIGNED_BY[AWS_STS] if one in algorithms)
    try:
        sts: Any = clients.make("sts", region or os.environ.get("AWS_REGION") or os.environ["AWS_DEFAULT_REGION"])
        answer = sts.get_web_identity_token(
            Audience=[audience], DurationSeconds=max(_SHORTEST, min(life, _LONGEST)), SigningAlgorithm=algorithm
        )
    except ClientError as error:
        # SECURITY: AWS's word and none of its text (test_what_a_provider_answers_is_never_quoted).
        code = error_code(error)
        raise MintError(f"sts_{code}", denied=code not in ("Throttling", "ServiceUnavailable")) from None
    except KeyError:
        raise MintError("no_aws_region") from None
    except BotoCoreError as error:
        raise MintError(f"sts_{type(error).__name__}") from None
    return str(answer["WebIdentityToken"])
