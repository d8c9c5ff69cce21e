"""Signatures: those that AWS published, and botocore's of thousands of requests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from unittest.mock import patch

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.aws.sigv4 import Credentials, Scope, signed

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
WHEN = dt.datetime(2015, 8, 30, 12, 36, tzinfo=dt.UTC)
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx"
    "7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6"
    "d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
PUBLISHED: dict[str, tuple[Mapping[str, str], bytes, str, str, str]] = {
    "post-vanilla": ({}, b"", "", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    "post-header-key-sort": (
        {"My-Header1": "value1"},
        b"",
        "",
        "my-header1;",
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    "post-header-value-case": (
        {"My-Header1": "VALUE1"},
        b"",
        "",
        "my-header1;",
        "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
    ),
    "post-sts-header-before": (
        {},
        b"",
        TOKEN,
        "",
        "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
    ),
    "post-x-www-form-urlencoded": (
        {"Content-Type": "application/x-www-form-urlencoded"},
        b"Param1=value1",
        "",
        "",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    "post-x-www-form-urlencoded-parameters": (
        {"Content-Type": "application/x-www-form-urlencoded; charset=utf8"},
        b"Param1=value1",
        "",
        "",
        "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
    ),
}
"""AWS's test suite for SigV4, what is a POST to `/` without a query: headers, body, session token, more signed, signature."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_signatures_are_ours(name: str) -> None:
    headers, body, token, more, signature = PUBLISHED[name]
    host = {"Host": "example.amazonaws.com", **headers}
    made = signed(
        host, body, Credentials("AKIDEXAMPLE", SECRET, token), Scope("us-east-1", "service"), WHEN.timestamp()
    )
    kind = "content-type;" if "Content-Type" in headers else ""
    names = f"{kind}host;{more}x-amz-date{';x-amz-security-token' if token else ''}"
    place = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"
    said = f"AWS4-HMAC-SHA256 Credential={place}, SignedHeaders={names}, Signature={signature}"
    assert made["authorization"] == said


_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
_NAMES = st.sampled_from(["content-type", "x-amz-target", "x-one", "X-Two", "Accept-Encoding"])


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(
    headers=st.dictionaries(_NAMES, _VALUES),
    body=st.binary(max_size=300),
    secret=_TEXT,
    token=st.one_of(st.just(""), _TEXT),
    scope=st.builds(Scope, st.sampled_from(["eu-central-1", "us-gov-west-1"]), st.sampled_from(["dynamodb", "x"])),
    now=st.integers(0, 4_000_000_000),
)
def test_signatures_are_botocore_s(  # noqa: PLR0917  what a request has
    headers: Mapping[str, str], body: bytes, secret: str, token: str, scope: Scope, now: int
) -> None:
    """For any request, credentials, scope and time the authorization is the one that botocore makes."""
    every = {"host": "aws.example.com", **headers}
    made = signed(every, body, Credentials("AKID", secret, token), scope, now)
    request = AWSRequest("POST", "https://aws.example.com/", headers=dict(every), data=body)
    moment = dt.datetime.fromtimestamp(now, dt.UTC).replace(tzinfo=None)
    with patch.object(botocore.auth, "get_current_datetime", return_value=moment):
        auth = botocore.auth.SigV4Auth(BotocoreCredentials("AKID", secret, token or None), scope.service, scope.region)
        auth.add_auth(request)
    assert made["authorization"] == request.headers["Authorization"]


def test_credentials_hide_their_secret() -> None:
    assert "made-up" not in repr(Credentials("AKID", "made-up", "made-up"))
