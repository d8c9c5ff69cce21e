"""AWS as our issuer: an assertion of the caller's own role from STS, so that there is no signing key of ours at all.

The account has to allow it (`aws iam enable-outbound-web-identity-federation`).
https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import strict_json
from chalicelib.aws import clients
from chalicelib.aws.errors import error_code
from chalicelib.federation.exchange import MintError
from chalicelib.providers.federated import AWS_STS, SIGNED_BY

_SHORTEST, _LONGEST = 60, 3600
"""Seconds that STS lets a token live."""
_LONGEST_TOKEN = 16 * 1024
"""Characters of one, at most."""
_ID = re.compile(r"[A-Za-z0-9_.:+/=-]{1,100}")


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


def unverified_jti(token: str) -> str:
    """Return the id that a token of AWS's says it has, for the audit and nothing else; "" if it has none that can be shown."""
    part = token[:_LONGEST_TOKEN].split(".")[1:2]
    try:
        claims = strict_json.parse(base64.urlsafe_b64decode(f"{part[0]}=="))
    except (IndexError, ValueError):
        return ""
    found = claims.get("jti") if isinstance(claims, Mapping) else None
    # SECURITY: a short plain word, whatever is in there (test_what_is_no_id_is_not_shown).
    return found if isinstance(found, str) and _ID.fullmatch(found) else ""
