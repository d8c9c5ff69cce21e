"""What both HTTP doors share: a request, a response, and what a refusal looks like at each door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chalicelib import strict_json
from chalicelib.errors import BodyTooLarge, MalformedRequest, OperatorNeeded, Refusal
from chalicelib.http.errors import NotAnAdministrator
from chalicelib.strict_json import JsonError, Rule

ADMIN_BODY_LIMIT = 8 * 1024 * 1024
"""Bytes of an administrator's body: a policy of 10,000 grants, as JSON."""


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """An HTTP request, as plain values."""

    request_id: str
    """API Gateway's id of it, which is also the `x-request-id` of the response."""
    headers: Mapping[str, str]
    """By name in lower case."""
    query: Mapping[str, str]
    """The query's parameters, decoded; of one that was sent more than once, the last."""
    body: bytes
    """The body, decoded if it arrived in base64."""
    identity: Mapping[str, object]
    """API Gateway's `requestContext.identity`: set by its IAM authorizer alone, empty for a request without a signature."""
    repeated: frozenset[str] = frozenset()
    """The names of query parameters that were sent more than once."""

    @property
    def idempotency_key(self) -> str | None:
        """The Idempotency-Key header as it was sent, None without one."""
        return self.headers.get("idempotency-key")

    def json(self, limit: int) -> object:
        """Return the body as JSON. limit: bytes. Raises BodyTooLarge, or MalformedRequest, also for a repeated member."""
        if len(self.body) > limit:
            raise BodyTooLarge(limit)
        try:
            return strict_json.parse(self.body)
        except JsonError as error:
            raise MalformedRequest(str(error) if error.rule is Rule.NAMES else "malformed JSON body") from None

    def administrator(self) -> str:
        """Return the administrator's ARN, which only API Gateway's IAM authorizer sets; raises NotAnAdministrator."""
        # SECURITY: a route deployed without its authorizer has no identity, and fails closed (test_app.py).
        arn = self.identity.get("userArn")
        if not isinstance(arn, str) or not arn:
            raise NotAnAdministrator
        return arn


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response, as plain values. The body is sent as JSON, unless there is a text, which is sent as it is."""

    body: Mapping[str, object]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None


def refused(refusal: Refusal, door: str, request_id: str) -> Response:
    """Return the response to a refusal: RFC 6749 section 5.2 at the public door, RFC 9457 at the administrators'."""
    headers = {**refusal.headers, "request-id": request_id}  # beside x-request-id: the name that Anthropic's SDKs show
    if refusal.retry_after is not None:
        headers["retry-after"] = str(refusal.retry_after)
    elif isinstance(refusal, OperatorNeeded):
        headers["x-should-retry"] = "false"  # a 503 that is not about the moment
    if door == "admin":
        problem = {
            "type": "about:blank",
            "title": refusal.error,
            "status": refusal.status,
            "detail": refusal.description,
            "request_id": request_id,
        }
        errors = getattr(refusal, "errors", None)  # a policy's faults
        body = problem if errors is None else {**problem, "errors": errors}
        return Response(body, refusal.status, {**headers, "content-type": "application/problem+json"})
    described = {"error_description": refusal.description} if refusal.description else {}
    return Response({"error": refusal.error, **described, "request_id": request_id}, refusal.status, headers)
