"""The administrators' routes of the policy."""

from __future__ import annotations

from chalicelib.admin import policy, policy_history
from chalicelib.admin.ports import AdminPorts
from chalicelib.admin.route_parameters import DRY_RUN, IF_MATCH, OF_POLICY, PAGING, exact
from chalicelib.http.messages import ADMIN_BODY_LIMIT
from chalicelib.http.route import Route

ROUTES: tuple[Route[AdminPorts], ...] = (
    Route(
        "GET",
        "/admin/policy",
        "The policy in force, or one that was, as it was sent",
        {200: "PolicyInForce"},
        policy.get_policy,
        OF_POLICY,
        refusals=(404,),
        etag=True,
    ),
    Route(
        "GET",
        "/admin/policy/history",
        "The versions of the policy that are kept, newest first",
        {200: "PolicyVersionList"},
        policy_history.list_versions,
        PAGING,
    ),
    Route(
        "GET",
        "/admin/policy/grants",
        "The grants of the policy in force, or of one that was: whom they admit to which key",
        {200: "GrantList"},
        policy_history.list_grants,
        (*OF_POLICY, *(exact(name, f"only those of this {name}") for name in ("key", "grant"))),
        refusals=(404, 422),
    ),
    Route(
        "PUT",
        "/admin/policy",
        "Apply a policy in place of the version that If-Match names. 412: another version is in force by now",
        {200: "PolicyAnswer"},
        policy.apply_policy,
        (IF_MATCH, DRY_RUN),
        body="PolicySent",
        body_limit=ADMIN_BODY_LIMIT,
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
        body_limit=ADMIN_BODY_LIMIT,
        refusals=(422,),
    ),
    Route(
        "POST",
        "/admin/policy/plan",
        "What applying a policy would change",
        {200: "Plan"},
        policy.plan,
        body="PolicySent",
        body_limit=ADMIN_BODY_LIMIT,
        refusals=(422,),
        etag=True,
    ),
    Route(
        "POST",
        "/admin/policy/explain",
        "Which grants admit some claims, and for each of the others why it does not",
        {200: "Explanation"},
        policy.explain,
        OF_POLICY,
        body="ExplainRequest",
        refusals=(404, 422),
    ),
    Route(
        "POST",
        "/admin/policy/replay",
        "Which recorded callers a policy would newly admit or refuse",
        {200: "Replay"},
        policy.replay,
        body="PolicySent",
        body_limit=ADMIN_BODY_LIMIT,
        refusals=(404, 422),
    ),
)
