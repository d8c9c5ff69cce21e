"""A trial is made by the minter's function: what it answers, and what is said where it does not."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from chalicelib.aws.mint_trial import MintTrial
from chalicelib.errors import Unavailable
from chalicelib.federation.notes import Asked, Trial
from chalicelib.providers.versions import KeyInfo

INFO = KeyInfo("openai", "openai", None, federated={})
ASKED = Asked("ada", "r-1")


class Lambda:
    """A client of Lambda that answers with this. asked: what it was asked."""

    def __init__(self, payload: str, fault: Exception | None = None, **more: object) -> None:
        self._payload, self._fault, self._more = payload, fault, more
        self.asked: list[dict[str, Any]] = []

    def invoke(self, **asked: Any) -> dict[str, Any]:  # noqa: ANN401  botocore's
        """See Lambda."""
        self.asked.append(asked)
        if self._fault:
            raise self._fault
        return {"Payload": io.BytesIO(self._payload.encode()), **self._more}


def test_a_trial_is_the_function_s_answer() -> None:
    """It is asked once, for the key by name."""
    tried = Trial(1_800_000_000, request_id="req_1")
    client = Lambda(json.dumps(tried._asdict()))
    assert MintTrial(lambda: client, "kb-minter")(INFO, ASKED) == tried
    assert client.asked == [
        {"FunctionName": "kb-minter", "Payload": '{"try": "openai", "actor": "ada", "request_id": "r-1"}'}
    ]


def test_without_a_minter_it_is_said_so() -> None:
    with pytest.raises(Unavailable, match="not_configured"):
        MintTrial(lambda: Lambda(""), "")(INFO, ASKED)


@pytest.mark.parametrize(
    ("client", "word"),
    [
        (Lambda('{"errorMessage": "sk-quoted"}', FunctionError="Unhandled"), "FunctionError"),
        (
            Lambda("", ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")),
            "TooManyRequestsException",
        ),
        (Lambda("", ReadTimeoutError(endpoint_url="https://lambda")), "ReadTimeoutError"),
        (Lambda("no JSON"), "JSONDecodeError"),
        (Lambda("null"), "TypeError"),
        (Lambda('{"unknown": 1}'), "TypeError"),
    ],
)
def test_a_function_that_does_not_answer_is_a_503(client: Lambda, word: str) -> None:
    """Its fault is a word."""
    with pytest.raises(Unavailable) as caught:
        MintTrial(lambda: client, "kb-minter")(INFO, ASKED)
    assert (caught.value.status, caught.value.aws_code) == (503, word)
