"""Which grants of the policy in force admit a principal, by the identities that the audit has recorded of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from chalicelib.admin import policy_service
from chalicelib.admin.errors import FaultyPolicy, NoPolicy
from chalicelib.admin.ports import AdminPorts
from chalicelib.audit import Audit, Event, Query
from chalicelib.policy.compile import Policy
from chalicelib.policy.explain import explain
from chalicelib.usage import Use

_OF_EACH: Final = 20
"""Events of tokens that are looked at for each grant, the newest."""
_GRANTS: Final = 20
"""Grants whose events are looked at."""


def in_force(ports: AdminPorts) -> tuple[int, Policy | None]:
    """Return the policy in force and its version; None if there is none that can be read. Raises Unavailable."""
    stored = ports.policies.current()
    try:
        return stored.version, policy_service.parsed(stored, ports.rules)
    except (NoPolicy, FaultyPolicy):
        return stored.version, None


def of_principal(
    sub: str, policy: Policy, events: Sequence[Event], used: Iterable[Use], audit: Audit
) -> list[dict[str, str]] | None:
    """Return each grant, with its key, that admits an identity which a principal has shown; None where none was recorded.

    events: its newest. used: what it did today. Raises Unavailable.
    """
    shown = {_text(one.claims): one.claims for one in _recorded(sub, events, used, audit) if one.claims}
    if not shown:
        return None
    names = {name for claims in shown.values() for name in explain(policy, claims).admitted}
    return [{"grant": name, "key": policy.grants[name].key} for name in sorted(names)]


def _recorded(sub: str, events: Sequence[Event], used: Iterable[Use], audit: Audit) -> Iterator[Event]:
    """Yield events of tokens of a principal: its newest, and the newest under each grant that it used today."""
    yield from events
    for name in sorted({one.grant for one in used if one.grant})[:_GRANTS]:
        yield from audit.page(Query({"principal": sub, "grant": name, "kind": "token.issued"}, limit=_OF_EACH)).events


def _text(claims: Mapping[str, object]) -> str:
    return repr(sorted(claims.items()))
