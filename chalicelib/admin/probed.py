"""What a probe of revocations (revocation_probe.py) leaves in usage and in the audit, and who looks for something else need not see."""

from __future__ import annotations

from chalicelib.admin.activity import PrincipalActivity
from chalicelib.admin.revocation_probe import NAME
from chalicelib.audit import Event
from chalicelib.usage import UsageQuery, Use


def is_left_out(use: Use, query: UsageQuery) -> bool:
    """Whether a use is a probe's alone, and was not asked for by its principal, grant or key."""
    asked = query.principal or query.grant or query.key
    # SECURITY: what was admitted is shown, whatever its grant is called (test_what_the_probe_s_grant_admits_is_shown).
    return not asked and use.grant == NAME and not use.calls


def is_probe(principal: PrincipalActivity) -> bool:
    """Whether a principal did nothing but a probe's work."""
    return principal.grants == (NAME,) and not principal.calls


def is_revocation(event: Event) -> bool:
    """Whether an event is of a revocation that a server on one machine, or a gateway, made to measure it."""
    # SECURITY: an administrator may be called as the probe is, but no other principal (test_nobody_else_is_left_out_of_the_audit).
    is_own = event.actor == NAME and event.principal.endswith(f"|{NAME}")
    return is_own and event.kind == "revocation.made"
