"""Which policy was in force when, and who could use a key then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from chalicelib.admin import policy_service, query
from chalicelib.admin.errors import NoSuchPolicyVersion
from chalicelib.admin.ports import AdminPorts
from chalicelib.admin.query import QueryParams
from chalicelib.errors import MalformedRequest
from chalicelib.http.messages import Request, Response
from chalicelib.policy.grants import Grant
from chalicelib.policy.plan import VERSIONS, Policies, StoredPolicy

_NEWEST: Final = 999_999_999
PAGES: Final = 40
"""Pages of versions that are looked through for the one of a time: 2,000 versions."""


def list_versions(request: Request, ports: AdminPorts) -> Response:
    """Answer the versions of the policy, the newest first."""
    request.administrator()
    params = query.read(request, "limit", "after")
    below = params.number("after", 1, _NEWEST) or _NEWEST
    limit = min(params.limit(), VERSIONS)
    found = ports.policies.versions(below, limit)
    more = len(found) == limit and bool(ports.policies.versions(found[-1].version, 1))
    items = [one._asdict() for one in found]
    return Response({"items": items, "next": str(found[-1].version) if more else None})


def list_grants(request: Request, ports: AdminPorts) -> Response:
    """Answer the grants of a version, or of the one that was in force at a time: whom they admitted to which key."""
    request.administrator()
    params = query.read(request, "version", "at", "key", "grant")
    stored = named(params, ports.policies)
    parsed = policy_service.parsed(stored, ports.rules)
    wanted = {name: params.text(name) for name in ("key", "grant")}
    grants = [
        _shown(one)
        for one in sorted(parsed.grants.values(), key=lambda grant: grant.name)
        if wanted["key"] in ("", one.key) and wanted["grant"] in ("", one.name)
    ]
    about = {"version": stored.version, "author": stored.author, "at": stored.at}
    return Response({**about, "items": grants, "next": None})


def named(params: QueryParams, policies: Policies) -> StoredPolicy:
    """Return the version that `version` or `at` names, the one in force without them.

    Raises NoSuchPolicyVersion, MalformedRequest for both.
    """
    version, at = params.number("version", 1, _NEWEST), params.time("at")
    if version is not None and at is not None:
        raise MalformedRequest("version and at both name a policy: send one of them")
    if at is not None:
        version = in_force_at(policies, at)
    found = policies.current() if version is None else policies.version(version)
    if found is None:
        raise NoSuchPolicyVersion
    return found


def in_force_at(policies: Policies, at: int) -> int:
    """Return the version that was in force at a time, in epoch seconds; raises NoSuchPolicyVersion."""
    below = _NEWEST
    for _ in range(PAGES):
        page = policies.versions(below)
        for one in page:
            # SECURITY: where it was not recorded since when a version was in force, none is made up
            # (test_a_version_without_a_time_is_not_guessed).
            if not one.at:
                raise NoSuchPolicyVersion
            if one.at <= at:
                return one.version
        if not page:
            break
        below = page[-1].version
    raise NoSuchPolicyVersion


def _shown(grant: Grant) -> dict[str, Any]:
    """Return a grant as a person asks for it: whom it admits, and to what."""
    stored = grant.to_json()
    claims = [{"claim": list(path), "accepted": list(accepted)} for path, accepted in stored["claims"]]
    kept = ("name", "key", "issuer")
    return {
        **{name: stored[name] for name in kept},
        "claims": claims,
        "scope": list(grant.scope),
        "models": None if grant.models is None else list(grant.models),
        "source_ips": None if grant.source_ips is None else list(grant.source_ips),
        "limits": list(_limits(grant)),
    }


def _limits(grant: Grant) -> Iterator[dict[str, Any]]:
    """Yield each limit, of each principal and, `shared`, of all callers together."""
    of_each = (("calls", grant.call_limits, False), ("tokens", grant.token_limits, False))
    for what, limits, shared in (*of_each, ("calls", grant.total_limits, True)):
        yield from ({"what": what, "window": one.window, "limit": one.count, "shared": shared} for one in limits)
    for one in grant.budgets:
        yield {"what": one.what, "window": one.window, "limit": one.amount, "shared": one.shared}
