"""What both HTTP doors share: what arrived, what is answered, and how a refusal looks at each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from chalicelib.audit import Audit, Event
from chalicelib.errors import Refusal
from chalicelib.exchange import request as token_request
from chalicelib.exchange.exchange import Broker
from chalicelib.exchange.ledger import Pins
from chalicelib.revocation import Revocations

if TYPE_CHECKING:  # the public door starts without what only administrators need, the policy's reader above all
    from chalicelib.policy.compile import InstallationRules
    from chalicelib.policy.plan import Policies
    from chalicelib.providers.keys import ProviderKeyStore
    from chalicelib.providers.origins import Origins
    from chalicelib.providers.versions import Keys
    from chalicelib.usage import Usage

ADMIN_BODY_LIMIT = 8 * 1024 * 1024
"""Bytes of an administrator's body: a policy of 10,000 grants, as JSON."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What the routes need. origins: where keys may go. jwks: the public signing keys. clock: epoch seconds.

    new_id: makes an id that nobody can guess.
    """

    broker: Broker
    revocations: Revocations
    audit: Audit
    policies: Policies
    pins: Pins
    usage: Usage
    keys: Keys
    key_store: ProviderKeyStore
    origins: Origins
    rules: InstallationRules
    jwks: Callable[[], Sequence[Mapping[str, str]]]
    clock: Callable[[], int]
    new_id: Callable[[], str]


@dataclass(frozen=True, slots=True, repr=False)
class Arrival:
    """A request. headers: names in lower case. identity: what API Gateway says of an IAM caller, else empty.

    query: its parameters, decoded; of one that was sent more than once, the last. repeated: the names of those.
    """

    request_id: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    identity: Mapping[str, object]
    repeated: frozenset[str] = frozenset()

    def json(self, limit: int) -> object:
        """Return the body as JSON without repeated members; raises Refusal."""
        if len(self.body) > limit:
            raise Refusal("body_too_large", "invalid_request", 413, f"the body is over {limit} bytes")
        try:
            return read_json(self.body.decode("utf-8"))
        except (ValueError, RecursionError):
            raise malformed("the body is no JSON") from None

    def administrator(self) -> str:
        """Return the administrator's ARN, which only API Gateway's IAM authorizer sets."""
        # SECURITY: a route deployed without its authorizer has no identity, and fails closed (test_app.py).
        arn = self.identity.get("userArn")
        if not isinstance(arn, str) or not arn:
            raise Refusal("not_an_administrator", "forbidden", 403, "sign the request as an administrator")
        return arn

    def event(self, ports: Ports, kind: str, **named: str) -> Event:
        """Return the record of what this administrator does now. named: its detail."""
        return Event(
            id=ports.new_id(),
            at=ports.clock(),
            kind=kind,
            request_id=self.request_id,
            actor=self.administrator(),
            detail=named,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered: body as JSON, unless there is a text, which goes out as it is."""

    body: Mapping[str, object]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None


View = Callable[..., Answer]
"""Answers one route: takes an Arrival, the Ports, and the names in the path."""


def refused(refusal: Refusal, door: str, request_id: str) -> Answer:
    """Answer a refusal: RFC 6749 section 5.2 at the public door, RFC 9457 at the administrators'."""
    headers = {**refusal.headers, "request-id": request_id}  # beside x-request-id: the name that Anthropic's SDKs show
    if refusal.retry_after is not None:
        headers["retry-after"] = str(refusal.retry_after)
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
        return Answer(body, refusal.status, {**headers, "content-type": "application/problem+json"})
    described = {"error_description": refusal.description} if refusal.description else {}
    return Answer({"error": refusal.error, **described, "request_id": request_id}, refusal.status, headers)


def read_json(text: str) -> object:
    """Return JSON; raises ValueError or RecursionError if it is none, Refusal if an object has a member twice."""
    return json.loads(text, object_pairs_hook=token_request.reject_duplicates, parse_constant=_no_number)


def _no_number(name: str) -> NoReturn:
    raise ValueError(
        f"{name} is no number"
    )  # NaN and Infinity are Python's, not JSON's, and no answer could repeat them


def malformed(text: str) -> Refusal:
    """Return the refusal of a request that cannot be read."""
    return Refusal("malformed_request", "invalid_request", 400, text)
