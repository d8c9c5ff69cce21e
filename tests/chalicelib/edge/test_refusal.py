from __future__ import annotations

import json

import pytest

from chalicelib.edge.refusal import WORTH_WAITING, body, headers
from chalicelib.errors import InternalFault, Refusal, StateUnavailable


class _Example(Refusal, reason="internal_reason", error="code", status=400):
    """One of any status."""


@pytest.mark.parametrize(
    ("status", "kind", "google"),
    [
        (400, "invalid_request_error", "INVALID_ARGUMENT"),
        (401, "authentication_error", "UNAUTHENTICATED"),
        (403, "permission_error", "PERMISSION_DENIED"),
        (404, "not_found_error", "NOT_FOUND"),
        (405, "invalid_request_error", "UNIMPLEMENTED"),
        (408, "invalid_request_error", "DEADLINE_EXCEEDED"),
        (415, "invalid_request_error", "INVALID_ARGUMENT"),
        (431, "request_too_large", "INVALID_ARGUMENT"),
        (502, "api_error", "UNAVAILABLE"),
        (504, "api_error", "DEADLINE_EXCEEDED"),
        (413, "request_too_large", "INVALID_ARGUMENT"),
        (429, "usage_limit_reached", "RESOURCE_EXHAUSTED"),
        (503, "api_error", "UNAVAILABLE"),
        (500, "api_error", "INTERNAL"),
    ],
)
def test_types_by_status(status: int, kind: str, google: str) -> None:
    """Each status has the type and code that the SDKs know."""
    found = json.loads(body(_Example("text", status=status), "req-1"))
    assert found == {
        "type": "error",
        "error": {"message": "text (request req-1)", "type": kind, "param": None, "code": "code", "status": google},
        "request_id": "req-1",
    }


@pytest.mark.parametrize(
    ("wait", "kind"),
    [(1, "rate_limit_error"), (WORTH_WAITING, "rate_limit_error"), (WORTH_WAITING + 1, "usage_limit_reached")],
)
def test_no_client_waits_for_hours(wait: int, kind: str) -> None:
    """A quota that opens within a minute is one to wait for; a later one is used up, in the words that Codex shows."""
    refusal = _Example("the quota is used up\n", status=429, retry_after=wait)
    assert json.loads(body(refusal, "req-1"))["error"]["type"] == kind
    shown = "the quota is used up (request req-1)" if wait > WORTH_WAITING else None
    assert headers(refusal, "req-1").get("x-codex-promo-message") == shown


def test_body_without_a_text() -> None:
    """Without a text the body shows the code; it never shows the reason."""
    found = body(_Example(), "req-1")
    assert json.loads(found)["error"]["message"] == "code (request req-1)"
    assert "internal_reason" not in found


def test_request_id_and_caching() -> None:
    """A refusal has the request id under both names, and may not be stored."""
    found = headers(_Example("t"), "req-1")
    assert (found["x-request-id"], found["request-id"]) == ("req-1", "req-1")
    assert (found["content-type"], found["cache-control"]) == ("application/json", "no-store")


@pytest.mark.parametrize(
    ("status", "there"), [(400, False), (401, True), (403, True), (404, False), (429, False), (503, False)]
)
def test_www_authenticate(status: int, there: bool) -> None:  # noqa: FBT001  a table's column
    """Only 401 and 403 have WWW-Authenticate."""
    assert ("www-authenticate" in headers(_Example("t", status=status), "req-1")) is there


def test_quoted_text() -> None:
    """A text cannot break out of its quotes in WWW-Authenticate."""
    text = 'a "b" \\ c\r\nX-Evil: é'
    found = headers(_Example(text, status=401), "req-1")["www-authenticate"]
    assert found == 'Bearer realm="keybroker", error="code", error_description="a \'b\'  cX-Evil: "'


@pytest.mark.parametrize(
    ("retry_after", "wait", "should_retry"),
    [(None, None, "false"), (1, "1", None), (WORTH_WAITING, "60", None), (WORTH_WAITING + 1, "61", "false")],
)
def test_useless_retries_are_stopped(retry_after: int | None, wait: str | None, should_retry: str | None) -> None:
    """SDKs are told not to retry where waiting does not help, or takes too long."""
    found = headers(_Example("t", status=429, retry_after=retry_after), "req-1")
    assert (found.get("retry-after"), found.get("x-should-retry")) == (wait, should_retry)


def test_503_asks_for_a_retry() -> None:
    """SDKs are told to retry a 503."""
    found = headers(StateUnavailable(), "req-1")
    assert (found["retry-after"], found["x-should-retry"]) == ("1", "true")


def test_500_is_not_retried() -> None:
    """SDKs are told not to retry a 500."""
    assert headers(InternalFault(ValueError("X")), "req-1")["x-should-retry"] == "false"


@pytest.mark.parametrize("status", [401, 403])
def test_resource_metadata_is_named(status: int) -> None:
    """401 and 403 name the edge's resource metadata."""
    found = headers(_Example("t", status=status), "req-1", "https://edge.example")["www-authenticate"]
    assert found.endswith(', resource_metadata="https://edge.example/.well-known/oauth-protected-resource"')
