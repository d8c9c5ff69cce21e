"""The callers that may sign requests on one machine: the administrators, and AWS principals for practice."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from chalicelib.errors import Unavailable
from local import secret_file
from local.administrators import PRACTICE, Administrator, Administrators
from local.errors import AwsCallersMalformed
from local.simulator import sigv4
from local.simulator.sigv4 import Caller, Credential, InvalidSignatureError, SignedRequest

REGION = "us-east-1"
ACCOUNT = "000000000000"
ADMIN_ARN = f"arn:aws:iam::{ACCOUNT}:user/{PRACTICE}"


class Callers:
    """The administrators, and `aws-callers.json` (mode 0600) with the principals that may request tokens.

    That is a JSON list of `{access_key_id, secret_access_key, session_token, account, arn, user_id}`, with the values
    that API Gateway puts into `requestContext.identity`; it is read again for each request.
    """

    def __init__(self, directory: Path, *urls: str, practising: bool = True) -> None:
        """Take the directory of the files, and the URLs of broker and administration, for whose hosts requests are signed."""
        self.administrators = Administrators(directory, practising=practising)
        self._callers = directory / "aws-callers.json"
        self._hosts = own_hosts(*urls)
        self._practising = practising

    def create(self) -> None:
        """Create the files that are missing; a role for practice only while practising."""
        self.administrators.create_first()
        role = {
            "access_key_id": f"ASIAPRACTICE{secrets.token_hex(4).upper()}",
            "secret_access_key": secrets.token_urlsafe(30),
            "session_token": secrets.token_urlsafe(60),
            "account": ACCOUNT,
            "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/practice-role/session-1",
            "user_id": "AROAPRACTICEROLE00001:session-1",
        }
        secret_file.write_once(self._callers, json.dumps([role] if self._practising else [], indent=2))

    def admin(self) -> dict[str, str] | None:
        """Return an administrator's AWS credentials for practice, else only where they are; None if there is nobody."""
        for one in self.administrators.all():
            if isinstance(one, Administrator):
                # SECURITY: what is announced ends up in logs (test_a_real_secret_is_not_announced).
                secret = {"secret_access_key": one.secret_access_key} if self._practising else {"file": str(one.file)}
                return {"access_key_id": one.access_key_id, **secret, "region": REGION}
        return None

    def authenticate(self, request: SignedRequest, now: int) -> Caller:
        """Return who signed a request; raises InvalidSignatureError, also for a caller that may not call this route.

        Raises Unavailable if a file is missing, open to others, or not what it should be.
        """
        sent = " ".join(value for name, value in request.headers if name.lower() == "authorization")
        found = list(self.administrators.all())
        faults = [one for one in found if isinstance(one, Unavailable)]
        admins = {
            one.access_key_id: _administrator(one)
            for one in found
            if isinstance(one, Administrator) and one.access_key_id in sent
        }
        # Read only for other callers, so that a mistake in this file never keeps an administrator from revoking.
        known = admins or self._practice()
        try:
            caller = sigv4.verify(request, known, region=REGION, hosts=self._hosts, now=now)
        except InvalidSignatureError:
            if faults and not admins:
                raise faults[0] from None  # it may be the signer's
            raise
        # SECURITY: on AWS an IAM policy decides who may call which route; here only administrators may call /admin
        # (test_callers.py).
        if request.target.startswith("/admin") and caller.access_key_id not in admins:
            raise InvalidSignatureError("this caller may not call the admin API")
        return caller

    def _practice(self) -> dict[str, Credential]:
        text = secret_file.read(self._callers)
        try:
            return {one["access_key_id"]: _credential(one) for one in json.loads(text)}
        except (ValueError, TypeError, KeyError, AttributeError) as fault:  # their texts contain no values
            raise AwsCallersMalformed(hint=str(fault)) from fault


def own_hosts(*urls: str) -> frozenset[str]:
    """Return the names that `Host` may have at these URLs: their own, and those of loopback."""
    named = [urlsplit(url).hostname or "127.0.0.1" for url in urls]
    return frozenset({*(f"[{one}]" if ":" in one else one for one in named), "127.0.0.1", "localhost", "[::1]"})


def _credential(stored: Mapping[str, object]) -> Credential:
    """Read one entry of aws-callers.json; raises KeyError for a member that is missing, TypeError for another type."""
    secret, token = stored["secret_access_key"], stored.get("session_token")
    named = [stored[name] for name in ("access_key_id", "account", "arn", "user_id")]
    texts = [one for one in named if isinstance(one, str)]
    if len(texts) != len(named) or not isinstance(secret, str) or not isinstance(token, str | None):
        raise TypeError("a member is not a string")
    return Credential(secret=secret, caller=Caller(*texts), session_token=token)


def _administrator(one: Administrator) -> Credential:
    unique_id = "AIDAPRACTICEADMIN0001" if one.name == PRACTICE else f"AIDA{one.access_key_id[4:]}"
    caller = Caller(one.access_key_id, ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/{one.name}", unique_id)
    return Credential(secret=one.secret_access_key, caller=caller)
