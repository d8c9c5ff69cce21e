"""The callers that may sign requests on one machine: the administrator, and AWS principals for practice."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from local import secret_file
from local.errors import AwsCallersMalformed
from local.simulator import sigv4
from local.simulator.sigv4 import Caller, Credential, InvalidSignatureError, SignedRequest

REGION = "us-east-1"
ACCOUNT = "000000000000"
ADMIN_ARN = f"arn:aws:iam::{ACCOUNT}:user/practice-admin"


class Callers:
    """Two files of mode 0600: `admin.json`, and `aws-callers.json` with the principals that may request tokens.

    The second is a JSON list of `{access_key_id, secret_access_key, session_token, account, arn, user_id}`, with the values
    that API Gateway puts into `requestContext.identity`; it is read again for each request.
    """

    def __init__(self, directory: Path, url: str) -> None:
        """Take the directory of the files, and the URL of the broker, for whose hosts requests have to be signed."""
        self._admin = directory / "admin.json"
        self._callers = directory / "aws-callers.json"
        self._hosts = own_hosts(url)

    def create(self) -> None:
        """Create the files that are missing."""
        admin = {"access_key_id": f"AKIAPRACTICE{secrets.token_hex(4).upper()}"}
        secret_file.write_once(self._admin, json.dumps(admin | {"secret_access_key": secrets.token_urlsafe(30)}))
        role = {
            "access_key_id": f"ASIAPRACTICE{secrets.token_hex(4).upper()}",
            "secret_access_key": secrets.token_urlsafe(30),
            "session_token": secrets.token_urlsafe(60),
            "account": ACCOUNT,
            "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/practice-role/session-1",
            "user_id": "AROAPRACTICEROLE00001:session-1",
        }
        secret_file.write_once(self._callers, json.dumps([role], indent=2))

    def admin(self) -> dict[str, str]:
        """Return the administrator's AWS credentials; raises Unavailable."""
        stored: dict[str, str] = json.loads(secret_file.read(self._admin))
        return {**stored, "region": REGION}

    def authenticate(self, request: SignedRequest, now: int) -> Caller:
        """Return who signed a request; raises InvalidSignatureError, also for a caller that may not call this route.

        Raises Unavailable if a file is missing, open to others, or not what it should be.
        """
        admin = self.admin()
        known = _administrator(admin)
        if not any(
            admin["access_key_id"] in value for name, value in request.headers if name.lower() == "authorization"
        ):
            # Read only for other callers, so that a mistake in this file never keeps the administrator from revoking.
            known = {**self._practice(), **known}
        found = sigv4.verify(request, known, region=REGION, hosts=self._hosts, now=now)
        # SECURITY: on AWS an IAM policy decides who may call which route; here only the administrator may call /admin
        # (test_callers.py).
        if request.target.startswith("/admin") and found.access_key_id != admin["access_key_id"]:
            raise InvalidSignatureError("this caller may not call the admin API")
        return found

    def _practice(self) -> dict[str, Credential]:
        text = secret_file.read(self._callers)
        try:
            return {one["access_key_id"]: _credential(one) for one in json.loads(text)}
        except (ValueError, TypeError, KeyError, AttributeError) as fault:  # their texts contain no values
            raise AwsCallersMalformed(hint=str(fault)) from fault


def own_hosts(url: str) -> frozenset[str]:
    """Return the names that `Host` may have at this URL: its own, and those of loopback."""
    return frozenset({urlsplit(url).hostname or "127.0.0.1", "127.0.0.1", "localhost", "[::1]"})


def _credential(stored: Mapping[str, object]) -> Credential:
    """Read one entry of aws-callers.json; raises KeyError for a member that is missing, TypeError for another type."""
    secret, token = stored["secret_access_key"], stored.get("session_token")
    named = [stored[name] for name in ("access_key_id", "account", "arn", "user_id")]
    texts = [one for one in named if isinstance(one, str)]
    if len(texts) != len(named) or not isinstance(secret, str) or not isinstance(token, str | None):
        raise TypeError("a member is not a string")
    return Credential(secret=secret, caller=Caller(*texts), session_token=token)


def _administrator(admin: Mapping[str, str]) -> dict[str, Credential]:
    caller = Caller(admin["access_key_id"], ACCOUNT, ADMIN_ARN, "AIDAPRACTICEADMIN0001")
    return {admin["access_key_id"]: Credential(secret=admin["secret_access_key"], caller=caller)}
