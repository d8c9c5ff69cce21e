"""What the distribution itself answers, before or after the edge function."""

from __future__ import annotations

import json

import pytest

from local.simulator.cloudfront_errors import ERRORS
from local.simulator.origin_request_event import METHODS
from local.simulator.viewer_response import ViewerResponse, error_response


def shown(response: ViewerResponse) -> dict[str, str]:
    """The error of a response's body."""
    error: dict[str, str] = json.loads(response._whole_body)["error"]
    return error


@pytest.mark.parametrize("name", ERRORS)
def test_errors_have_the_edges_format(name: str) -> None:
    """CloudFront's errors have the format of the edge's refusals."""
    wanted = ERRORS[name]
    (status,), code, text = wanted.statuses, wanted.error, wanted.text
    response = error_response(name, "request-1")
    assert (response.status, shown(response)["code"]) == (status, code)
    assert shown(response)["message"] == f"{text} (request request-1)"
    headers = dict(response.fields.pairs())
    assert headers["x-request-id"] == headers["request-id"] == "request-1"
    assert headers["Cache-Control"] == "no-store"
    assert int(headers["Content-Length"]) == len(response._whole_body)


@pytest.mark.parametrize("name", ERRORS)
def test_errors_have_no_www_authenticate(name: str) -> None:
    """The errors ask for no other token, which would not help."""
    assert "www-authenticate" not in dict(error_response(name, "request-1").fields.pairs())


@pytest.mark.parametrize("name", ERRORS)
def test_errors_stop_useless_retries(name: str) -> None:
    """Retries are stopped where they would fail again, and left to the SDK elsewhere."""
    found = dict(error_response(name, "request-1").fields.pairs()).get("x-should-retry")
    # After a time-out the provider is still at work, and bills for each repetition.
    assert found == ("false" if ERRORS[name].statuses[0] < 500 or name == "timeout" else None)


def test_a_405_says_which_methods_there_are() -> None:
    assert dict(error_response("method", "request-1").fields.pairs())["allow"] == ", ".join(sorted(METHODS))
    assert "allow" not in dict(error_response("target", "request-1").fields.pairs())
