"""Our tokens for Bedrock and those of AWS's own generator, made of the same made-up credentials, are of one form."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import time
from collections.abc import Mapping
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl

from chalicelib.aws import bedrock_token
from tests.running import ROOT

_REGION, _EXPIRES, _SECONDS = "eu-west-1", 900, 60
_CREDENTIALS: Mapping[str, str] = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "made-up"}
_SESSION: Mapping[str, str] = {"AWS_SESSION_TOKEN": "a/session+token=="}
_PREFIX = "bedrock-api-key-"
_OF_THE_SECOND = {"X-Amz-Date": r"\d{8}T\d{6}Z", "X-Amz-Signature": "[0-9a-f]{64}"}


def compare(python: str) -> str:
    """Return what was compared, a line for people; raises AssertionError for what differs."""
    version = ""
    for credentials in (_CREDENTIALS, {**_CREDENTIALS, **_SESSION}):
        others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with mock.patch.dict(os.environ, {**others, **credentials}, clear=True):
            theirs = _generated(python)
            ours, expires = bedrock_token.make(_REGION, "", _EXPIRES, int(time.time()))
        version = theirs["version"]
        assert form(ours) == form(theirs["token"]), f"{form(ours)} is not {form(theirs['token'])}"
        assert expires - time.time() <= _EXPIRES
        assert ("X-Amz-Security-Token" in dict(form(ours)[1])) is ("AWS_SESSION_TOKEN" in credentials)
    return f"{version}: the same host, query and signed headers"


def form(token: str) -> tuple[str, list[tuple[str, str]]]:
    """Return the host and the query of the request that a token is, but for what is of its second."""
    assert token.startswith(_PREFIX)
    host, _, query = base64.b64decode(token.removeprefix(_PREFIX), validate=True).decode().partition("?")
    return host, [(name, _timeless(name, value)) for name, value in parse_qsl(query, strict_parsing=True)]


def _timeless(name: str, value: str) -> str:
    if name in _OF_THE_SECOND:
        assert re.fullmatch(_OF_THE_SECOND[name], value), f"{name} is {value}"
        return _OF_THE_SECOND[name]
    return re.sub(r"(?<=/)\d{8}(?=/)", "DATE", value) if name == "X-Amz-Credential" else value


def _generated(python: str) -> dict[str, Any]:
    command = [python, "-m", "tests.integration.federation_sdks.programs.sign_bedrock"]
    asked = json.dumps({"region": _REGION, "expires": _EXPIRES})
    done = subprocess.run(command, input=asked, capture_output=True, text=True, cwd=ROOT, timeout=_SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    made: dict[str, Any] = json.loads(done.stdout)
    return made
