from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from chalicelib.aws.errors import error_code


def failed(code: object) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "User: arn, sk-secret"}}, "Sign")  # type: ignore[typeddict-item]  # AWS may say anything


def test_aws_code_is_kept_and_never_its_text() -> None:
    assert error_code(failed("AccessDeniedException")) == "AccessDeniedException"


@pytest.mark.parametrize("code", [None, 5, "", "a text: sk-secret", "A" * 65])
def test_what_is_no_word_is_not_repeated(code: object) -> None:
    assert error_code(failed(code)) == ""


def test_what_is_not_aws_has_no_code() -> None:
    assert error_code(ValueError("sk-secret")) == ""
