"""What the practice token endpoints share: faults that a test asks for, a history, and how a request is read."""

from __future__ import annotations

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from aiohttp import web

from local.practice.federation.minted import MintedTokens
from local.practice.federation.trust import Claims, DeniedError, Rules, TrustedIssuer

FORM = "application/x-www-form-urlencoded"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105  a public name
TYPE_JWT = "urn:ietf:params:oauth:token-type:jwt"
TYPE_ID = "urn:ietf:params:oauth:token-type:id_token"
TYPE_ACCESS = "urn:ietf:params:oauth:token-type:access_token"


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request.

    is_denied: it is answered as every denial. status: it is answered with this one, in the endpoint's form.
    is_done: with either, whether the token is minted, and the assertion spent, all the same.
    delay: seconds until the answer. life: seconds that the token lives, in place of its own. body: sent in place of the answer's.
    account: whom the token is for, if the answer says it. retry_after: the header.
    """

    is_denied: bool = False
    status: int = 0
    is_done: bool = False
    delay: float = 0
    life: int | None = None
    body: bytes | None = None
    account: str | None = None
    retry_after: str | None = None


@dataclass(slots=True)
class Faults:
    """What goes wrong: with each of the next requests in its order, and with all that come after them."""

    coming: list[Fault] = field(default_factory=list)
    lasting: Fault = field(default_factory=Fault)

    def take(self) -> Fault:
        """Return what goes wrong with this request."""
        return self.coming.pop(0) if self.coming else self.lasting


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request, as the provider notes it. reason: why it was refused, empty if a token was minted; status: sent."""

    at: float
    reason: str
    status: int


class RefusedError(Exception):
    """A request is not well-formed, or asks for what there is not: the endpoint's own error for it.

    fields: of the provider's error, beside its text and status.
    """

    def __init__(self, reason: str, text: str, status: int = 400, **fields: object) -> None:
        super().__init__(text)
        self.reason, self.text, self.status, self.fields = reason, text, status, fields


class TokenEndpoint(ABC):
    """One token endpoint. minted: what it made. history: what was asked, in order."""

    def __init__(self, issuer: TrustedIssuer | None, clock: Callable[[], float] = time.time) -> None:
        self.issuer, self.clock = issuer, clock
        self.minted, self.faults = MintedTokens(), Faults()
        self.history: list[Attempt] = []

    @abstractmethod
    async def mint(self, request: web.Request, fault: Fault) -> web.Response:
        """Mint a token; raises DeniedError or RefusedError."""

    @abstractmethod
    def denied(self, reason: str) -> web.Response:
        """Return the endpoint's error for an assertion that it does not accept."""

    @abstractmethod
    def refused(self, error: RefusedError) -> web.Response:
        """Return the endpoint's error for any other request, and for its own failure."""

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request as its fault has it."""
        fault = self.faults.take()
        fails = fault.is_denied or bool(fault.status)
        reason, response = "", None
        if fault.is_done or not fails:
            reason, response = await self._tried(request, fault)
        if fault.is_denied:
            reason, response = "fault", self.denied("fault")
        elif fault.status:
            error = RefusedError("fault", "a fault that a test asked for", fault.status)
            reason, response = "fault", self.refused(error)
        assert response is not None  # noqa: S101  for the type checker
        if fault.body is not None:
            response.body = fault.body  # under the headers that the answer has anyway
        if fault.retry_after is not None:
            response.headers["Retry-After"] = fault.retry_after
        self.history.append(Attempt(self.clock(), reason, response.status))
        await asyncio.sleep(fault.delay)
        return response

    async def verified(self, assertion: str, rules: Rules) -> Claims:
        """Return an assertion's claims; raises DeniedError."""
        if self.issuer is None:
            raise DeniedError("match_issuer")
        return await asyncio.to_thread(self.issuer.verify, assertion, rules)

    async def _tried(self, request: web.Request, fault: Fault) -> tuple[str, web.Response]:
        try:
            return "", await self.mint(request, fault)
        except DeniedError as error:
            return error.reason, self.denied(error.reason)
        except RefusedError as error:
            return error.reason, self.refused(error)


def life(fault: Fault, seconds: float) -> int:
    """Return for how many whole seconds a token lives."""
    return int(seconds) if fault.life is None else fault.life


async def read_json(request: web.Request, limit: int) -> Mapping[str, object]:
    """Return a JSON object of at most `limit` bytes; raises RefusedError."""
    raw = await _read(request, limit, "application/json")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise RefusedError("malformed_body", "The request body is not a JSON object.")
    return body


async def read_form(request: web.Request, limit: int) -> Mapping[str, str]:
    """Return a form of at most `limit` bytes, each of whose members occurs once; raises RefusedError."""
    raw = await _read(request, limit, FORM)
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise RefusedError("malformed_body", "The request body is not a form.") from None
    if len({name for name, _ in pairs}) != len(pairs):
        raise RefusedError("malformed_body", "A parameter is given twice.")
    return dict(pairs)


def text(body: Mapping[str, object], name: str) -> str:
    """Return a member that must be a text, and not an empty one; raises RefusedError."""
    found = body.get(name)
    if not isinstance(found, str) or not found:
        raise RefusedError("field_missing", f"{name}: Field required", field=name)
    return found


async def _read(request: web.Request, limit: int, media_type: str) -> bytes:
    if request.content_type != media_type:
        raise RefusedError("media_type", f"Expected {media_type}.")
    if request.content_length is not None and request.content_length > limit:
        raise RefusedError("body_too_large", "The request body is too large.", 413)
    raw = await request.read()
    if len(raw) > limit:
        raise RefusedError("body_too_large", "The request body is too large.", 413)
    return raw
