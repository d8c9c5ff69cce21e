"""What administrators do with the policy: validate, plan, apply, explain, replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.admin import paging
from chalicelib.admin.errors import FaultyPolicy, NoPolicy, UnwisePolicy
from chalicelib.audit import PAGE_LIMIT, Audit, Event, Query
from chalicelib.errors import MalformedRequest, Unavailable
from chalicelib.issuers.registry import KeySource
from chalicelib.policy.compile import InstallationRules, InvalidPolicyError, Policy, parse
from chalicelib.policy.errors import PolicyChanged
from chalicelib.policy.explain import explain as explain_claims
from chalicelib.policy.explain import replay as replay_claims
from chalicelib.policy.lint import RULES, lint
from chalicelib.policy.plan import Policies, Step, StoredPolicy
from chalicelib.policy.plan import plan as plan_steps
from chalicelib.tokens import jws
from chalicelib.tokens.errors import InvalidTokenError, RefusedClaimError
from chalicelib.tokens.verify import verify

ISSUED_LIMIT = 20_000
"""How many issued tokens a replay looks at, the newest."""
REFUSED_LIMIT = 2_000
"""How many refused ones it looks at besides, the newest, to find who would be newly admitted."""
REPLAY_SECONDS = 15
"""Seconds after which a replay looks at no more of the audit: the administration has 29 to answer."""
FILE_LIMIT = 1024
"""Characters of a file name at most."""


@dataclass(frozen=True, slots=True)
class PolicyUpload:
    """A policy file as an administrator sends it. file: its name, for faults. allow: lint rules that it may break."""

    text: str
    file: str
    allow: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What applying a policy would change. version: of the policy in force that it was planned against."""

    version: int
    changes: tuple[Step, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the form that the admin API answers."""
        return {"version": self.version, "changes": [one.to_json() for one in self.changes]}


def read(fields: object) -> PolicyUpload:
    """Read `{"text": …, "file": …, "allow": […]}`; raises MalformedRequest."""
    body = fields if isinstance(fields, Mapping) else {}
    text, file, allow = body.get("text"), body.get("file", "keybroker.yaml"), body.get("allow", [])
    known = isinstance(allow, list) and all(isinstance(rule, str) and rule in RULES for rule in allow)
    known = known and body.keys() <= {"text", "file", "allow"}
    if not isinstance(text, str) or not isinstance(file, str) or len(file) > FILE_LIMIT or not known:
        raise MalformedRequest(
            f"the body must be an object with text, and optionally file and allow (a list of {', '.join(RULES)})"
        )
    return PolicyUpload(text, file, tuple(allow))


def validate(upload: PolicyUpload, rules: InstallationRules) -> Policy:
    """Return the policy; raises FaultyPolicy with every fault, or UnwisePolicy with every finding of lint."""
    sent = _parse(upload.text, upload.file, rules)
    found = lint(sent, rules.presets, upload.allow)
    if found:
        raise UnwisePolicy(one.to_json() for one in found)
    return sent


def plan(upload: PolicyUpload, policies: Policies, rules: InstallationRules) -> Plan:
    """Return what applying would change; raises as `validate`, and FaultyPolicy if the policy in force no longer parses."""
    current = policies.current()
    return Plan(current.version, plan_steps(_in_force(current.text, rules), validate(upload, rules)))


def dry_run(upload: PolicyUpload, expected: int, policies: Policies, rules: InstallationRules) -> Plan:
    """Return what applying would change, or raise as `apply` would; changes nothing."""
    would = plan(upload, policies, rules)
    if would.version != expected:
        raise PolicyChanged(expected, would.version)
    return would


def apply(
    upload: PolicyUpload, expected: int, policies: Policies, rules: InstallationRules, event: Event
) -> StoredPolicy:
    """Put the policy in force in place of version `expected`; raises FaultyPolicy, UnwisePolicy or PolicyChanged."""
    return policies.apply(validate(upload, rules), upload.text, expected, event)


def parsed(stored: StoredPolicy, rules: InstallationRules) -> Policy:
    """Return a version of the policy, parsed; raises NoPolicy, or FaultyPolicy if it is none by the rules of today."""
    found = _parse(stored.text, f"version {stored.version}", rules) if stored.text else None
    if found is None:
        raise NoPolicy
    return found


def explain(
    fields: object, stored: StoredPolicy, rules: InstallationRules, keys: KeySource, now: int
) -> dict[str, Any]:
    """Return which grants of a version admit `{"claims": {…}}` or `{"token": …}`, optionally only those for `"key"`.

    A token is verified if possible. If not, the result says why: its claims could be forged. `cause` is the claim
    or limit that is not kept, or what keeps the issuer's keys from being had; "" elsewhere.
    Raises MalformedRequest or NoPolicy.
    """
    body = fields if isinstance(fields, Mapping) else {}
    claims, token, key = body.get("claims"), body.get("token"), body.get("key")
    one = body.keys() - {"key"} in ({"claims"}, {"token"}) and isinstance(key, str | None)
    if not one or isinstance(claims, Mapping) == isinstance(token, str):
        raise MalformedRequest("the body must be an object with either claims (an object) or token, and optionally key")
    in_force = parsed(stored, rules)
    doubt, cause = "claims were sent, not a token", ""
    if isinstance(token, str):
        claims, doubt, cause = _claims(token, in_force, keys, now)
    return {
        "verified": not doubt,
        "unverified_because": doubt,
        "cause": cause,
        **explain_claims(in_force, claims or {}, key).to_json(),
    }


def _claims(token: str, in_force: Policy, keys: KeySource, now: int) -> tuple[Mapping[str, object], str, str]:
    """Return a token's claims, why they are unverified ("" if they are verified), and the cause of that if it is known."""
    try:
        unverified = jws.parse(token)
    except InvalidTokenError as invalid:
        return {}, invalid.reason, ""
    url = jws.unverified_issuer(unverified.unverified_claims)
    issuer = next((one for one in in_force.issuers.values() if one.url == url), None)
    if issuer is None:
        return unverified.unverified_claims, "issuer_unknown", ""
    try:
        return (
            verify(unverified, keys.find(issuer, unverified.kid, unverified.alg, now), issuer.expected(), now),
            "",
            "",
        )
    except InvalidTokenError as doubt:
        return unverified.unverified_claims, doubt.reason, doubt.text if isinstance(doubt, RefusedClaimError) else ""
    except Unavailable as doubt:
        return unverified.unverified_claims, doubt.reason, doubt.aws_code


def replay(
    upload: PolicyUpload, policies: Policies, rules: InstallationRules, audit: Audit, clock: Callable[[], int]
) -> dict[str, Any]:
    """Return which callers in the audit the policy would newly admit or refuse; raises as `plan`, and NoPolicy.

    `complete` says whether every issued token in the audit was looked at. clock: epoch seconds.
    """
    after = validate(upload, rules)
    before = _in_force(policies.current().text, rules)
    if before is None:
        raise NoPolicy
    # SECURITY: callers that were issued tokens first, and by themselves: a stranger's refusals, of any number, hide none
    # of them (test_strangers_hide_no_caller).
    issued = _Recorded(audit, "token.issued", ISSUED_LIMIT, clock)
    refused = _Recorded(audit, "token.refused", REFUSED_LIMIT, clock)
    found = replay_claims(before, after, (one for kind in (issued, refused) for one in kind)).to_json()
    return {"complete": issued.complete, **found}


class _Recorded:
    """Key and claims of the newest audit events of a kind. complete: whether these were all."""

    def __init__(self, audit: Audit, kind: str, limit: int, clock: Callable[[], int]) -> None:
        self.complete = False
        self._audit, self._query, self._limit, self._clock = audit, Query({"kind": kind}), limit, clock

    def __iter__(self) -> Iterator[tuple[str, Mapping[str, object]]]:
        ends = self._clock() + REPLAY_SECONDS
        for page in paging.events(self._audit, self._query, self._limit // PAGE_LIMIT):
            yield from ((event.key, event.claims) for event in page.events if event.claims)
            self.complete = not page.next
            if self._clock() >= ends:
                return


def _in_force(text: str, rules: InstallationRules) -> Policy | None:
    """Parse the policy in force, None if there is none yet. It may no longer parse, e.g. if a preset was removed."""
    return _parse(text, "the policy in force", rules) if text else None


def _parse(text: str, file: str, rules: InstallationRules) -> Policy:
    try:
        return parse(text, file, rules)
    except InvalidPolicyError as invalid:
        raise FaultyPolicy(one.to_json() for one in invalid.faults) from None
