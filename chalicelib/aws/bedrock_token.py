"""Bearer tokens for Bedrock: a request signed ahead, as AWS's aws-bedrock-token-generator makes them; nobody is asked.

https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html
"""

from __future__ import annotations

import base64
from typing import Any, Final

import botocore.session
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aws import clients
from chalicelib.aws.errors import error_code
from chalicelib.federation.exchange import MintError

_URL: Final = "https://bedrock.amazonaws.com/"
_PREFIX: Final = "bedrock-api-key-"
_OWN_SECONDS: Final = 900
"""For which a token of this process's own credentials is believed, which end sometime that is not known."""
_SESSION: Final = "keybroker-minter"


def make(region: str, role: str, life: int, now: int) -> tuple[str, int]:
    """Return a token and when it ends (epoch seconds); raises MintError. role: assumed first, "" for none. life: seconds."""
    try:
        credentials, ends = _assumed(role, life, region) if role else (_own(), now + min(life, _OWN_SECONDS))
    except ClientError as error:
        raise MintError(f"sts_{error_code(error)}", denied=True) from None
    except BotoCoreError as error:
        raise MintError(f"sts_{type(error).__name__}") from None
    seconds = max(1, min(life, ends - now))
    request = AWSRequest(
        "POST", _URL, params={"Action": "CallWithBearerToken"}, headers={"host": "bedrock.amazonaws.com"}
    )
    SigV4QueryAuth(credentials, "bedrock", region, expires=seconds).add_auth(request)
    signed = f"{str(request.url).removeprefix('https://')}&Version=1"
    return _PREFIX + base64.b64encode(signed.encode()).decode(), now + seconds


def _own() -> Credentials:
    found = botocore.session.get_session().get_credentials()
    if found is None:
        raise MintError("no_aws_credentials")
    frozen = found.get_frozen_credentials()
    return Credentials(str(frozen.access_key), str(frozen.secret_key), frozen.token)


def _assumed(role: str, life: int, region: str) -> tuple[Credentials, int]:
    sts: Any = clients.make("sts", region)
    answer = sts.assume_role(RoleArn=role, RoleSessionName=_SESSION, DurationSeconds=max(900, min(life, 3600)))
    got = answer["Credentials"]
    return Credentials(got["AccessKeyId"], got["SecretAccessKey"], got["SessionToken"]), int(
        got["Expiration"].timestamp()
    )
