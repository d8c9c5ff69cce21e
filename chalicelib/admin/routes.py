"""Every route of the administrators' door, and what the OpenAPI document says about it."""

from __future__ import annotations

from chalicelib.admin import audit, keys, policy, principals, revocations, usage
from chalicelib.admin.ports import AdminPorts
from chalicelib.admin.query import TEXT_LIMIT, TIME_LIMIT
from chalicelib.audit import FILTERS, KINDS, PAGE_DEFAULT, PAGE_LIMIT
from chalicelib.http.public_routes import IDEMPOTENCY_KEY
from chalicelib.http.route import TEXT, Parameter, Route
from chalicelib.quota import WINDOWS
from chalicelib.revocation import SCOPES


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
_ID = Parameter("principal_id", "a principal's `sub`, percent-encoded whole", location="path", required=True)
_IF_MATCH = Parameter(
    "If-Match",
    'the ETag of the policy that was planned against; "0" for none',
    {**TEXT, "pattern": '^"[0-9]{1,9}"$'},
    location="header",
    required=True,
)
_WINDOW = Parameter("window", "how long", {"enum": list(WINDOWS), "default": "day"})

ROUTES: tuple[Route[AdminPorts], ...] = (
    Route(
        "GET",
        "/admin/revocations",
        "Revocations, newest first; those of single tokens only with `scope=token`",
        {200: "RevocationList"},
        revocations.revocations,
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
        revocations.revoke,
        (_DRY_RUN, IDEMPOTENCY_KEY),
        body="RevocationRequest",
        refusals=(404, 422),
    ),
    Route(
        "DELETE",
        "/admin/revocations/{revocation_id}",
        "End a revocation's block; tokens from before it stay dead",
        {200: "RestoreAnswer"},
        revocations.restore,
        (Parameter("revocation_id", "its `id`", location="path", required=True), _DRY_RUN),
        refusals=(404,),
    ),
    Route(
        "GET",
        "/admin/principals",
        "Who did anything today or yesterday (UTC)",
        {200: "SeenList"},
        principals.principals,
        _PAGING,
    ),
    Route(
        "GET",
        "/admin/principals/{principal_id}",
        "One principal: how it stands, what it did, its live tokens, its newest events",
        {200: "Principal"},
        principals.principal,
        (_ID,),
        refusals=(404,),
    ),
    Route(
        "POST",
        "/admin/principals/{principal_id}/pin",
        "Bind an AWS role or user that was made again to its new unique id",
        {200: "Pinned"},
        principals.pin,
        (_ID, _DRY_RUN),
        body="PinRequest",
        refusals=(404,),
    ),
    Route(
        "GET",
        "/admin/usage",
        "What each principal did under each grant, in one window",
        {200: "UsageList"},
        usage.usage,
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
        audit.audit,
        (
            *(_exact(name, f"of this {name} only") for name in FILTERS if name != "kind"),
            Parameter(
                "kind", "of this kind only", {"type": "string", "maxLength": TEXT_LIMIT, "examples": list(KINDS)}
            ),
            _time("since", "from then on"),
            _time("until", "before then"),
            *_PAGING,
        ),
        json_lines=True,
    ),
    Route(
        "GET",
        "/admin/audit/check",
        "Whether there is one event for each token that was counted",
        {200: "Completeness"},
        audit.check,
        (
            Parameter("window", "how long", {"enum": ["hour", "day"], "default": "day"}),
            _time("start", "a time in the window, of the last 3 days; the newest window that is over if left out"),
        ),
    ),
    Route("GET", "/admin/keys", "The policy's keys: all that is known but their values", {200: "KeyList"}, keys.keys),
    Route(
        "PUT",
        "/admin/keys/{name}",
        "Set a key's value, with where it goes; in force from the next call on, and never readable back",
        {200: "KeyAnswer"},
        keys.set_key,
        (Parameter("name", "a key of the policy", location="path", required=True), _DRY_RUN),
        body="KeyRequest",
        refusals=(404,),
    ),
    Route(
        "GET", "/admin/policy", "The policy in force, as it was sent", {200: "PolicyInForce"}, policy.policy, etag=True
    ),
    Route(
        "PUT",
        "/admin/policy",
        "Put a policy in force in place of the version that If-Match names. 412: another one is in force by now",
        {200: "PolicyAnswer"},
        policy.apply_policy,
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
        policy.validate,
        body="PolicySent",
        refusals=(422,),
    ),
    Route(
        "POST",
        "/admin/policy/plan",
        "What applying a policy would change",
        {200: "Plan"},
        policy.plan,
        body="PolicySent",
        refusals=(422,),
        etag=True,
    ),
    Route(
        "POST",
        "/admin/policy/explain",
        "Which grants admit some claims, and what differs for each of the others",
        {200: "Explanation"},
        policy.explain,
        body="ExplainRequest",
        refusals=(404, 422),
    ),
    Route(
        "POST",
        "/admin/policy/replay",
        "What a policy would newly admit or refuse of what the audit has recorded",
        {200: "Replay"},
        policy.replay,
        body="PolicySent",
        refusals=(404, 422),
    ),
)
