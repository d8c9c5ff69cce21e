from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from chalicelib.errors import Refusal, Unavailable, cause


def failed(code: object) -> Refusal:
    try:
        try:
            raise ClientError({"Error": {"Code": code, "Message": "User: arn, sk-secret"}}, "Sign")  # type: ignore[typeddict-item]  # AWS may say anything
        except ClientError as error:
            raise Unavailable("signing_unavailable") from error
    except Unavailable as refusal:
        return refusal


def test_the_log_says_by_which_word_aws_refused_us_and_never_its_text() -> None:
    assert cause(failed("AccessDeniedException")) == {"cause": "AccessDeniedException"}


@pytest.mark.parametrize("code", [None, 5, "", "a text: sk-secret", "A" * 65])
def test_what_is_no_word_is_not_repeated(code: object) -> None:
    assert cause(failed(code)) == {}


def test_what_had_another_cause_or_none_says_nothing() -> None:
    alone, other = Unavailable("state_unavailable"), Refusal("replayed", "invalid_grant", 400)
    other.__cause__ = ValueError("sk-secret")
    assert (cause(alone), cause(other)) == ({}, {})
