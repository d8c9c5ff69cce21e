"""What administrators do with the policy: look, check, plan, put in force, ask why, ask what if."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.admin import audit_pages
from chalicelib.admin.errors import FaultyPolicy, NoPolicy, UnwisePolicy
from chalicelib.audit import PAGE_LIMIT, Audit, Event, Query
from chalicelib.errors import MalformedRequest, Unavailable
from chalicelib.issuers.registry import KeySource
from chalicelib.policy import compile as policy
from chalicelib.policy import explain, lint, plan
from chalicelib.policy.compile import InstallationRules, InvalidPolicyError, Policy
from chalicelib.policy.errors import PolicyChanged
from chalicelib.policy.plan import Policies
from chalicelib.tokens import jws
from chalicelib.tokens import verify as tokens
from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.tokens.jws import unverified_issuer

REPLAY_LIMIT = 2000
"""Audit events that a replay looks at, the newest."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A policy file as it was sent. allow: lint rules to pass over."""

    text: str
    file: str
    allow: tuple[str, ...]


def read(fields: object) -> Sent:
    """Read `{"text": …, "file": …, "allow": […]}`; raises MalformedRequest."""
    body = fields if isinstance(fields, Mapping) else {}
    text, file, allow = body.get("text"), body.get("file", "keybroker.yaml"), body.get("allow", [])
    known = isinstance(allow, list) and all(isinstance(rule, str) and rule in lint.RULES for rule in allow)
    known = known and body.keys() <= {"text", "file", "allow"}
    if not isinstance(text, str) or not isinstance(file, str) or len(file) > 1024 or not known:
        rules = ", ".join(lint.RULES)
        raise MalformedRequest(f"text, file, allow (a list of {rules})")
    return Sent(text, file, tuple(allow))


def validate(sent: Sent, rules: InstallationRules) -> Policy:
    """Return the policy; raises FaultyPolicy with every fault, or UnwisePolicy with every finding of lint."""
    parsed = _parsed(sent.text, sent.file, rules)
    found = lint.lint(parsed, rules.presets, sent.allow)
    if found:
        raise UnwisePolicy(one.to_json() for one in found)
    return parsed


def planned(sent: Sent, policies: Policies, rules: InstallationRules) -> dict[str, Any]:
    """Say what applying would change, and against which version."""
    now = policies.current()
    steps = plan.plan(_in_force(now.text, rules), validate(sent, rules))
    return {"version": now.version, "changes": [one.to_json() for one in steps]}


def rehearsed(sent: Sent, expected: int, policies: Policies, rules: InstallationRules) -> dict[str, Any]:
    """Say what applying would change, or raise as `apply` would; changes nothing."""
    would = planned(sent, policies, rules)
    if would["version"] != expected:
        raise PolicyChanged(expected, would["version"])
    return would


def apply(sent: Sent, expected: int, policies: Policies, rules: InstallationRules, event: Event) -> plan.StoredPolicy:
    """Put the policy in force in place of version `expected`; raises FaultyPolicy, UnwisePolicy or PolicyChanged."""
    return policies.apply(validate(sent, rules), sent.text, expected, event)


def explained(
    fields: object, policies: Policies, rules: InstallationRules, keys: KeySource, now: int
) -> dict[str, Any]:
    """Say which grants admit `{"claims": {…}}` or `{"token": …}` (optionally only those for `key`).

    A token is verified if it can be; if not, the answer says so, and why: its claims may be anybody's invention.
    """
    body = fields if isinstance(fields, Mapping) else {}
    claims, token, key = body.get("claims"), body.get("token"), body.get("key")
    one = body.keys() - {"key"} in ({"claims"}, {"token"}) and isinstance(key, str | None)
    if not one or isinstance(claims, Mapping) == isinstance(token, str):
        raise MalformedRequest("claims (an object) or token, optionally key")
    in_force = _in_force(policies.current().text, rules)
    if in_force is None:
        raise NoPolicy
    doubt = "claims were sent, not a token"
    if isinstance(token, str):
        claims, doubt = _claims(token, in_force, keys, now)
    return {
        "verified": not doubt,
        "unverified_because": doubt,
        **explain.explain(in_force, claims or {}, key).to_json(),
    }


def _claims(token: str, in_force: Policy, keys: KeySource, now: int) -> tuple[Mapping[str, object], str]:
    """A token's claims, and why they are not verified, or ""."""
    try:
        unverified = jws.parse(token)
    except InvalidTokenError as invalid:
        return {}, invalid.reason
    url = unverified_issuer(unverified.unverified_claims)
    issuer = next((one for one in in_force.issuers.values() if one.url == url), None)
    if issuer is None:
        return unverified.unverified_claims, "issuer_unknown"
    try:
        return tokens.verify(unverified, keys.find(issuer, unverified.kid, now), issuer.expected(), now), ""
    except (InvalidTokenError, Unavailable) as doubt:
        return unverified.unverified_claims, doubt.reason


def replayed(sent: Sent, policies: Policies, rules: InstallationRules, audit: Audit) -> dict[str, Any]:
    """Say what the policy would newly admit or refuse of what the audit has recorded."""
    after = validate(sent, rules)
    before = _in_force(policies.current().text, rules)
    if before is None:
        raise NoPolicy
    return explain.replay(before, after, _recorded(audit)).to_json()


def _recorded(audit: Audit) -> Iterable[tuple[str, Mapping[str, object]]]:
    for page in audit_pages.newest(audit, Query(), REPLAY_LIMIT // PAGE_LIMIT):
        yield from ((event.key, event.claims) for event in page.events if event.claims)


def _in_force(text: str, rules: InstallationRules) -> Policy | None:
    """The policy in force, None if there is none yet. One that no longer parses names what stopped to be known."""
    return _parsed(text, "the policy in force", rules) if text else None


def _parsed(text: str, file: str, rules: InstallationRules) -> Policy:
    try:
        return policy.parse(text, file, rules)
    except InvalidPolicyError as invalid:
        raise FaultyPolicy(one.to_json() for one in invalid.faults) from None
