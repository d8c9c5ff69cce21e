"""Every route of the administrators' door, and what the OpenAPI document says about it."""

from __future__ import annotations

from chalicelib.admin import (
    audit,
    federation_routes,
    keys,
    now,
    policy_routes,
    principals,
    probes,
    refusals,
    revocations,
    rotation_routes,
    signing,
    usage,
)
from chalicelib.admin.ports import AdminPorts
from chalicelib.admin.query import TEXT_LIMIT
from chalicelib.admin.route_parameters import DRY_RUN, LEAKED, PAGING, PRINCIPAL_ID, PROBE, WINDOW, exact, time
from chalicelib.admin.totals import ORDERS
from chalicelib.audit import FILTERS, KINDS, PAGE_LIMIT
from chalicelib.http.public_routes import IDEMPOTENCY_KEY
from chalicelib.http.route import Parameter, Route
from chalicelib.quota import WINDOWS
from chalicelib.revocation import SCOPES

ROUTES: tuple[Route[AdminPorts], ...] = (
    Route(
        "GET",
        "/admin/revocations",
        "Revocations, newest first; those of single tokens only with `scope=token`",
        {200: "RevocationList"},
        revocations.list_revocations,
        (
            Parameter("scope", "only revocations of this scope", {"enum": list(SCOPES)}),
            Parameter(
                "in_force",
                "true: only those that still block; false: only those that no longer do",
                {"type": "boolean"},
            ),
            *PAGING,
        ),
    ),
    Route(
        "POST",
        "/admin/revocations",
        "Revoke something. 201: the revocation is in force. 200, with `dry_run`: who would be cut off",
        {201: "Revocation", 200: "Impact"},
        revocations.revoke,
        (DRY_RUN, IDEMPOTENCY_KEY),
        body="RevocationRequest",
        refusals=(404, 422),
    ),
    Route(
        "DELETE",
        "/admin/revocations/{revocation_id}",
        "Restore what was revoked; tokens issued before the revocation stay invalid",
        {200: "RestoreAnswer"},
        revocations.restore,
        (Parameter("revocation_id", "the revocation's `id`", location="path", required=True), DRY_RUN),
        refusals=(404,),
    ),
    Route(
        "GET",
        "/admin/principals",
        "The principals that were active today or yesterday (UTC)",
        {200: "SeenList"},
        principals.list_principals,
        PAGING,
    ),
    Route(
        "GET",
        "/admin/principals/{principal_id}",
        "One principal: whether it is blocked, its activity, its live tokens, and its newest events",
        {200: "Principal"},
        principals.get_principal,
        (PRINCIPAL_ID,),
        refusals=(404,),
    ),
    Route(
        "POST",
        "/admin/principals/{principal_id}/pin",
        "Bind the ARN of a recreated AWS role or user to its new unique id",
        {200: "Pinned"},
        principals.pin,
        (PRINCIPAL_ID, DRY_RUN),
        body="PinRequest",
        refusals=(404,),
    ),
    Route(
        "GET",
        "/admin/usage",
        "What each principal did under each grant, in one window",
        {200: "UsageAnswer"},
        usage.list_usage,
        (
            WINDOW,
            time("at", "any time within the window; the default is now"),
            *(exact(name, f"only those of this {name}") for name in ("principal", "grant", "key")),
            *PAGING,
            Parameter(
                "top",
                "only so many, those with the most of `by`, the largest first; without pages",
                {"type": "integer", "minimum": 1, "maximum": PAGE_LIMIT},
            ),
            Parameter("by", "what `top` is by; calls if left out", {"enum": list(ORDERS)}),
            Parameter(
                "series",
                "sums of one window after the other, the oldest first: of 60 minutes, 72 hours or 35 days at most",
                {"enum": list(WINDOWS)},
            ),
            time("since", "with series: any time within the first window"),
            time("until", "with series: any time within the last window; the default is now"),
        ),
    ),
    Route(
        "GET",
        "/admin/now",
        "What is going on: this hour and day by key and grant, who is busiest, and what is revoked",
        {200: "Now"},
        now.get_now,
    ),
    Route(
        "GET",
        "/admin/audit",
        "Audit events, newest first; with `Accept: application/jsonl` one per line, with the next page as a Link",
        {200: "EventList"},
        audit.list_events,
        (
            *(exact(name, f"only those of this {name}") for name in FILTERS if name != "kind"),
            Parameter(
                "kind", "only events of this kind", {"type": "string", "maxLength": TEXT_LIMIT, "examples": list(KINDS)}
            ),
            time("since", "only events at or after this time"),
            time("until", "only events before this time"),
            Parameter(
                "format",
                "ocsf: as events of the Open Cybersecurity Schema Framework 1.5.0",
                {"enum": list(audit.FORMATS), "default": "event"},
            ),
            Parameter(
                "claims",
                "whether to include the callers' verified claims; the default is true, and false with `format=ocsf`",
                {"type": "boolean"},
            ),
            Parameter(
                "probes",
                "false leaves out what servers and gateways revoke to measure how long that takes; the default is true",
                {"type": "boolean", "default": True},
            ),
            *PAGING,
        ),
        json_lines=True,
    ),
    Route(
        "GET",
        "/admin/audit/check",
        "Whether the audit and the counters agree on the tokens that were issued",
        {200: "Completeness"},
        audit.check,
        (
            Parameter("window", "the length of the window", {"enum": ["hour", "day"], "default": "day"}),
            time(
                "start",
                "any time within the window, at most 3 days ago; the default is the newest window that has ended",
            ),
        ),
    ),
    Route(
        "GET",
        "/admin/audit/chain",
        "Compare a part of the chain of hashes with the events; without `items` all is as it was written",
        {200: "ChainPage"},
        audit.check_chain,
        (exact("after", "the `next` of the previous part"),),
    ),
    Route(
        "GET",
        "/admin/audit/head",
        "The newest link of the chain, to be published; or the link of a number, to be compared with one that was",
        {200: "ChainHead"},
        audit.head,
        (Parameter("seq", "the link's number", {"type": "integer", "minimum": 0, "maximum": 2**53}),),
    ),
    Route("GET", "/admin/keys", "The policy's keys, without their values", {200: "KeyList"}, keys.list_keys),
    Route(
        "PUT",
        "/admin/keys/{name}",
        "Set a key's value, origin and header. It is used from the next call on, and cannot be read back",
        {200: "KeyAnswer"},
        keys.set_key,
        (Parameter("name", "the name of a key of the policy", location="path", required=True), DRY_RUN, PROBE, LEAKED),
        body="KeyRequest",
        refusals=(404, 409, 422),
    ),
    Route(
        "GET",
        "/admin/refusals",
        "The call that an edge refused, by its request id, for a day; those of Lambda@Edge are in the log group `edge_log` alone",
        {200: "RefusedCallList"},
        refusals.list_refused_calls,
        (exact("request_id", "as the refusal shows it", required=True),),
    ),
    Route(
        "GET",
        "/admin/probes",
        "How long a revocation took until it held, as it was last measured",
        {200: "RevocationProbeList"},
        probes.list_revocation_probes,
    ),
    Route(
        "GET",
        "/admin/signing",
        "The signing keys: which one signs, which are accepted, which are tainted",
        {200: "SigningKeyList"},
        signing.list_signing_keys,
    ),
    Route(
        "POST",
        "/admin/signing",
        "Prepare, activate, taint or retire a signing key. It is in force when this is answered",
        {200: "SigningKeyAnswer"},
        signing.change_signing_keys,
        (DRY_RUN,),
        body="SigningKeyRequest",
        refusals=(404, 409),
    ),
    *rotation_routes.ROUTES,
    *federation_routes.ROUTES,
    *policy_routes.ROUTES,
)
