"""Every route of both doors, as openapi/document.py publishes it: data. Schemas are named, see openapi/admin_schemas.py and openapi/public_schemas.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chalicelib.admin.query import PAGE_DEFAULT, PAGE_LIMIT, TEXT_LIMIT, TIME_LIMIT
from chalicelib.audit import FILTERS, KINDS
from chalicelib.openapi.shapes import TEXT, Schema
from chalicelib.quota import WINDOWS
from chalicelib.revocation import SCOPES
from chalicelib.tokens.jws import URL_LIMIT


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a route. place: `query`, `path` or `header`."""

    name: str
    text: str
    schema: Schema = field(default_factory=lambda: TEXT)
    place: str = "query"
    required: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """A route. answers: schema by status. refusals: statuses beside those that every route of its door has.

    signed: whether API Gateway asks for a signature. etag: whether its answer has one. lines: whether it can be answered
    line by line.
    """

    method: str
    path: str
    text: str
    answers: Mapping[int, str]
    parameters: tuple[Parameter, ...] = ()
    body: str = ""
    refusals: tuple[int, ...] = ()
    signed: bool = True
    etag: bool = False
    lines: bool = False

    @property
    def admin(self) -> bool:
        """Whether it is at the administrators' door."""
        return self.path.startswith("/admin/")


def _time(name: str, text: str) -> Parameter:
    return Parameter(name, text, {"type": "integer", "minimum": 0, "maximum": TIME_LIMIT})


def _exact(name: str, text: str) -> Parameter:
    return Parameter(name, text, {**TEXT, "maxLength": TEXT_LIMIT})


_DRY_RUN = Parameter("dry_run", "true: say what would happen, and change nothing", {"type": "boolean"})
_PAGING = (
    Parameter(
        "limit",
        "items on a page at most",
        {"type": "integer", "minimum": 1, "maximum": PAGE_LIMIT, "default": PAGE_DEFAULT},
    ),
    _exact("after", "the `next` of a page before"),
)
_ID = Parameter("principal_id", "a principal's `sub`, percent-encoded whole", place="path", required=True)
_IF_MATCH = Parameter(
    "If-Match",
    'the ETag of the policy that was planned against; "0" for none',
    {**TEXT, "pattern": '^"[0-9]{1,9}"$'},
    place="header",
    required=True,
)
_IDEMPOTENCY = Parameter(
    "Idempotency-Key",
    "makes a repeated request the same request (draft-ietf-httpapi-idempotency-key-header)",
    {**TEXT, "minLength": 22, "maxLength": 256, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    place="header",
)
_WINDOW = Parameter("window", "how long", {"enum": list(WINDOWS), "default": "day"})

ADMIN = (
    Route(
        "GET",
        "/admin/revocations",
        "Revocations, newest first; those of single tokens only with `scope=token`",
        {200: "RevocationList"},
        (
            Parameter("scope", "of this scope only", {"enum": list(SCOPES)}),
            Parameter("in_force", "true: those that block; false: those that have ended", {"type": "boolean"}),
            *_PAGING,
        ),
    ),
    Route(
        "POST",
        "/admin/revocations",
        "Take something back. 201: it is in force. With `dry_run`, 200: who would be cut off",
        {201: "Revocation", 200: "Impact"},
        (_DRY_RUN, _IDEMPOTENCY),
        body="RevocationRequest",
        refusals=(404, 422),
    ),
    Route(
        "DELETE",
        "/admin/revocations/{revocation_id}",
        "End a revocation's block; tokens from before it stay dead",
        {200: "RestoreAnswer"},
        (Parameter("revocation_id", "its `id`", place="path", required=True), _DRY_RUN),
        refusals=(404,),
    ),
    Route(
        "GET",
        "/admin/principals",
        "Who did anything today or yesterday (UTC)",
        {200: "SeenList"},
        _PAGING,
    ),
    Route(
        "GET",
        "/admin/principals/{principal_id}",
        "One principal: how it stands, what it did, its live tokens, its newest events",
        {200: "Principal"},
        (_ID,),
        refusals=(404,),
    ),
    Route(
        "POST",
        "/admin/principals/{principal_id}/pin",
        "Bind an AWS role or user that was made again to its new unique id",
        {200: "Pinned"},
        (_ID, _DRY_RUN),
        body="PinRequest",
        refusals=(404,),
    ),
    Route(
        "GET",
        "/admin/usage",
        "What each principal did under each grant, in one window",
        {200: "UsageList"},
        (
            _WINDOW,
            _time("at", "a time in the window; now if left out"),
            *(_exact(name, f"of this {name} only") for name in ("principal", "grant", "key")),
            *_PAGING,
        ),
    ),
    Route(
        "GET",
        "/admin/audit",
        "Audit events, newest first; with `Accept: application/jsonl` one per line, and the next page as a Link",
        {200: "EventList"},
        (
            *(_exact(name, f"of this {name} only") for name in FILTERS if name != "kind"),
            Parameter(
                "kind", "of this kind only", {"type": "string", "maxLength": TEXT_LIMIT, "examples": list(KINDS)}
            ),
            _time("since", "from then on"),
            _time("until", "before then"),
            *_PAGING,
        ),
        lines=True,
    ),
    Route(
        "GET",
        "/admin/audit/check",
        "Whether there is one event for each token that was counted",
        {200: "Completeness"},
        (
            Parameter("window", "how long", {"enum": ["hour", "day"], "default": "day"}),
            _time("start", "a time in the window, of the last 3 days; the newest window that is over if left out"),
        ),
    ),
    Route("GET", "/admin/keys", "The policy's keys: all that is known but their values", {200: "KeyList"}),
    Route(
        "PUT",
        "/admin/keys/{name}",
        "Set a key's value, with where it goes; in force from the next call on, and never readable back",
        {200: "KeyAnswer"},
        (Parameter("name", "a key of the policy", place="path", required=True), _DRY_RUN),
        body="KeyRequest",
        refusals=(404,),
    ),
    Route("GET", "/admin/policy", "The policy in force, as it was sent", {200: "PolicyInForce"}, etag=True),
    Route(
        "PUT",
        "/admin/policy",
        "Put a policy in force in place of the version that If-Match names. 412: another one is in force by now",
        {200: "PolicyAnswer"},
        (_IF_MATCH, _DRY_RUN),
        body="PolicySent",
        refusals=(412, 422, 428),
        etag=True,
    ),
    Route(
        "POST",
        "/admin/policy/validate",
        "Whether a policy parses and passes lint",
        {200: "Valid"},
        body="PolicySent",
        refusals=(422,),
    ),
    Route(
        "POST",
        "/admin/policy/plan",
        "What applying a policy would change",
        {200: "Plan"},
        body="PolicySent",
        refusals=(422,),
        etag=True,
    ),
    Route(
        "POST",
        "/admin/policy/explain",
        "Which grants admit some claims, and what differs for each of the others",
        {200: "Explanation"},
        body="ExplainRequest",
        refusals=(404, 422),
    ),
    Route(
        "POST",
        "/admin/policy/replay",
        "What a policy would newly admit or refuse of what the audit has recorded",
        {200: "Replay"},
        body="PolicySent",
        refusals=(404, 422),
    ),
    Route("GET", "/admin/openapi.json", "This document", {200: "OpenApi"}),
)

PUBLIC = (
    Route(
        "POST",
        "/token",
        "Exchange a subject token for a token of the broker (RFC 8693, RFC 7523)",
        {200: "TokenAnswer"},
        (_IDEMPOTENCY,),
        body="ExchangeRequest",
        refusals=(429,),
        signed=False,
    ),
    Route(
        "POST",
        "/token/iam",
        "The same for whoever signs as an AWS role or user: there is no subject token",
        {200: "TokenAnswer"},
        (_IDEMPOTENCY,),
        body="IamRequest",
        refusals=(403, 429),
    ),
    Route(
        "POST",
        "/anthropic/v1/oauth/token",
        "The exchange that Anthropic's SDKs make by themselves",
        {200: "TokenAnswer"},
        (_IDEMPOTENCY,),
        body="AnthropicRequest",
        refusals=(429,),
        signed=False,
    ),
    Route(
        "POST",
        "/revoke",
        "Take back a token that one holds (RFC 7009)",
        {200: "Nothing"},
        body="RevokeRequest",
        signed=False,
    ),
    Route("GET", "/.well-known/jwks.json", "The keys that verify our tokens", {200: "Jwks"}, signed=False),
    Route("GET", "/.well-known/oauth-authorization-server", "RFC 8414's metadata", {200: "Metadata"}, signed=False),
    Route("GET", "/.well-known/openid-configuration", "The same", {200: "Metadata"}, signed=False),
    Route(
        "GET",
        "/audience",
        "For which audience an issuer's tokens have to be made out",
        {200: "Audience"},
        (Parameter("issuer", "its URL", {**TEXT, "minLength": 1, "maxLength": URL_LIMIT}, required=True),),
        signed=False,
    ),
    Route("GET", "/healthz", "Whether state can be read", {200: "Health"}, signed=False),
)
