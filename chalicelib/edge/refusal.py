"""The edge's response to a refused call: one body that every SDK shows, and headers that stop useless retries."""

from __future__ import annotations

import json
import re

from chalicelib.edge import resource_metadata
from chalicelib.errors import Refusal

_KINDS = {
    400: ("invalid_request_error", "INVALID_ARGUMENT"),
    401: ("authentication_error", "UNAUTHENTICATED"),
    403: ("permission_error", "PERMISSION_DENIED"),
    404: ("not_found_error", "NOT_FOUND"),
    405: ("invalid_request_error", "UNIMPLEMENTED"),
    408: ("invalid_request_error", "DEADLINE_EXCEEDED"),
    413: ("request_too_large", "INVALID_ARGUMENT"),
    415: ("invalid_request_error", "INVALID_ARGUMENT"),
    417: ("invalid_request_error", "INVALID_ARGUMENT"),
    429: ("rate_limit_error", "RESOURCE_EXHAUSTED"),
    431: ("request_too_large", "INVALID_ARGUMENT"),
    502: ("api_error", "UNAVAILABLE"),
    503: ("api_error", "UNAVAILABLE"),
    504: ("api_error", "DEADLINE_EXCEEDED"),
}
_INTERNAL = ("api_error", "INTERNAL")
_USED_UP = ("usage_limit_reached", "RESOURCE_EXHAUSTED")
"""For a quota that opens later than WORTH_WAITING. Codex would wait for the hours of `Retry-After` after a `rate_limit_error`, and
speak of a plan and billing after an `insufficient_quota`."""
_NOT_QUOTABLE = re.compile(r"[^\x20-\x7e]|\\")
WORTH_WAITING = 60
"""Seconds: a quota that opens later than this is not worth a retry by an SDK."""


def body(refusal: Refusal, request_id: str) -> str:
    """Return a JSON body with the members that OpenAI's, Anthropic's and Google's SDKs each look for."""
    kind, status = _USED_UP if _is_used_up(refusal) else _KINDS.get(refusal.status, _INTERNAL)
    error = {
        "message": f"{refusal.description or refusal.error} (request {request_id})",
        "type": kind,
        "param": None,
        "code": refusal.error,
        "status": status,
    }
    return json.dumps({"type": "error", "error": error, "request_id": request_id})


def headers(refusal: Refusal, request_id: str, edge_url: str = "") -> dict[str, str]:
    """Return the headers that go with the body. edge_url: the edge's own URL, "" if it is not known.

    WWW-Authenticate is RFC 6750's (section 3) with RFC 9728's (section 5.1) member.
    """
    found = {
        "content-type": "application/json",
        "cache-control": "no-store",
        "x-request-id": request_id,
        "request-id": request_id,
        **refusal.headers,
    }
    found |= challenge(refusal)
    if edge_url and "www-authenticate" in found:
        found["www-authenticate"] += f', resource_metadata="{resource_metadata.url(edge_url)}"'
    if refusal.retry_after is not None:
        found["retry-after"] = str(refusal.retry_after)
    if _is_used_up(refusal):  # of a used-up quota's answer, Codex shows this header alone
        found["x-codex-promo-message"] = _NOT_QUOTABLE.sub("", f"{refusal.description} (request {request_id})")
    if not _is_worth_waiting(refusal):
        found["x-should-retry"] = "false"
    elif refusal.status == 503:
        found["x-should-retry"] = "true"
    return found


def challenge(refusal: Refusal) -> dict[str, str]:
    """Return the header that says why a token was refused (RFC 6750, section 3); none for what is not about a token."""
    if refusal.status not in (401, 403):
        return {}
    text = _NOT_QUOTABLE.sub("", refusal.description).replace('"', "'")
    return {"www-authenticate": f'Bearer realm="keybroker", error="{refusal.error}", error_description="{text}"'}


def _is_worth_waiting(refusal: Refusal) -> bool:
    return refusal.retry_after is not None and refusal.retry_after <= WORTH_WAITING


def _is_used_up(refusal: Refusal) -> bool:
    return refusal.status == 429 and not _is_worth_waiting(refusal)
