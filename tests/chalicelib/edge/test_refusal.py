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
        (429, "insufficient_quota", "RESOURCE_EXHAUSTED"),
        (503, "api_error", "UNAVAILABLE"),
        (500, "api_error", "INTERNAL"),
    ],
)
def test_each_status_has_the_words_that_sdks_know(status: int, kind: str, google: str) -> None:
    found = json.loads(body(_Example("text", status=status), "req-1"))
    assert found == {
        "type": "error",
        "error": {"message": "text (request req-1)", "type": kind, "param": None, "code": "code", "status": google},
        "request_id": "req-1",
    }


def test_without_a_text_the_code_is_shown_and_the_audit_s_reason_never() -> None:
    found = body(_Example(), "req-1")
    assert json.loads(found)["error"]["message"] == "code (request req-1)"
    assert "internal_reason" not in found


def test_both_names_of_the_request_id_are_sent_and_nothing_may_be_stored() -> None:
    found = headers(_Example("t"), "req-1")
    assert (found["x-request-id"], found["request-id"]) == ("req-1", "req-1")
    assert (found["content-type"], found["cache-control"]) == ("application/json", "no-store")


@pytest.mark.parametrize(
    ("status", "there"), [(400, False), (401, True), (403, True), (404, False), (429, False), (503, False)]
)
def test_only_401_and_403_ask_for_another_token(status: int, there: bool) -> None:  # noqa: FBT001  a table's column
    assert ("www-authenticate" in headers(_Example("t", status=status), "req-1")) is there


def test_a_text_cannot_break_out_of_its_quotes() -> None:
    text = 'a "b" \\ c\r\nX-Evil: é'
    found = headers(_Example(text, status=401), "req-1")["www-authenticate"]
    assert found == 'Bearer realm="keybroker", error="code", error_description="a \'b\'  cX-Evil: "'


@pytest.mark.parametrize(
    ("retry_after", "wait", "should_retry"),
    [(None, None, "false"), (1, "1", None), (WORTH_WAITING, "60", None), (WORTH_WAITING + 1, "61", "false")],
)
def test_a_retry_is_stopped_where_it_is_useless(
    retry_after: int | None, wait: str | None, should_retry: str | None
) -> None:
    found = headers(_Example("t", status=429, retry_after=retry_after), "req-1")
    assert (found.get("retry-after"), found.get("x-should-retry")) == (wait, should_retry)


def test_when_we_are_the_problem_a_retry_is_welcome() -> None:
    found = headers(StateUnavailable(), "req-1")
    assert (found["retry-after"], found["x-should-retry"]) == ("1", "true")


def test_a_fault_of_ours_that_another_try_would_meet_again_is_not_retried() -> None:
    assert headers(InternalFault(ValueError("X")), "req-1")["x-should-retry"] == "false"


@pytest.mark.parametrize("status", [401, 403])
def test_who_needs_another_token_is_told_where_tokens_come_from(status: int) -> None:
    found = headers(_Example("t", status=status), "req-1", "https://edge.example")["www-authenticate"]
    assert found.endswith(', resource_metadata="https://edge.example/.well-known/oauth-protected-resource"')
