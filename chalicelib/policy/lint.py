"""Lint: what parses but is unwise. Each finding is an error unless its rule is allowed by name (docs/grants.md)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from chalicelib.issuers import presets
from chalicelib.issuers.entry import Preset
from chalicelib.policy.accepted_values import Contains, is_pattern
from chalicelib.policy.compile import Policy
from chalicelib.policy.coverage import find_covered
from chalicelib.policy.grants import Grant
from chalicelib.principal import AWS
from chalicelib.providers import paths
from chalicelib.providers.federated import FEDERATED
from chalicelib.providers.presets import PROVIDERS

RULES: Mapping[str, str] = {
    "unpinned": "a grant pins none of the ids of its issuer that are never recycled; names can be taken over by others",
    "github-sub": "GitHub's `sub` changed its shape on 2026-07-15 and is configurable; match the claims it is made of",
    "unwise-claim": "the claim holds names that are recycled, or parts that change with every run",
    "list-claim": "the claim is a list and the grant wants a value, or the reverse; such a grant never admits anyone",
    "web-socket": "the path answers as a WebSocket alone, which GET does not open; write WEBSOCKET in its place, or beside it",
    "any-role": "every role or user of the account is admitted, including those created later",
    "shared-account": "federated keys share an account: its log and bill cannot tell their callers apart, or it has a limit",
    "covered": "another grant admits everything that this one admits; callers would have to name one of them",
}
"""The rules, each with its reason."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule broken in one place."""

    rule: str
    """Its name in RULES."""
    file: str
    """The file's name."""
    line: int
    """From 1."""
    field: str
    """Its path, e.g. `grants.app.to.claims`."""
    text: str
    """What to do, and why."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field}: {self.text} [{self.rule}]"

    def to_json(self) -> dict[str, object]:
        """Return the form that the admin API answers."""
        return asdict(self)


def lint(policy: Policy, known: Mapping[str, Preset], allowed: Iterable[str] = ()) -> tuple[Finding, ...]:
    """Return the findings in a policy, by line.

    known: the presets of this installation, by name. allowed: names of RULES to skip; raises KeyError for others.
    """
    skipped = {rule: RULES[rule] for rule in allowed}
    by_url = {issuer.url: issuer for issuer in policy.issuers.values()}
    found: list[Finding] = []
    for grant in policy.grants.values():
        issuer = by_url.get(grant.issuer)
        preset = known.get(issuer.preset, presets.GENERIC) if issuer else None
        found += (*_claim_findings(policy, grant, preset), *_list_findings(policy, grant, preset)) if preset else ()
        found += _web_socket_findings(policy, grant)
        if (grant.issuer == AWS or (preset and preset.aws_principals)) and any(
            is_pattern(value) for _, values in grant.claims for value in values
        ):
            found.append(_finding("any-role", policy, grant, RULES["any-role"], "to", "aws"))
    found += (*_covered_findings(policy), *_federation_findings(policy))
    return tuple(sorted((one for one in found if one.rule not in skipped), key=lambda one: (one.line, one.rule)))


def _claim_findings(policy: Policy, grant: Grant, preset: Preset) -> Iterable[Finding]:
    matched = {path[0] for path, _ in grant.claims if len(path) == 1}
    pinned = {
        path for path, values in grant.claims if not any(is_pattern(one) or isinstance(one, Contains) for one in values)
    }
    if preset.pins and not pinned & set(preset.pins):
        text = f"pin {' or '.join('.'.join(path) for path in preset.pins)}; names can be taken over by others"
        yield _finding("unpinned", policy, grant, text, "to", "claims")
    for claim in sorted(matched & set(preset.unwise)):
        rule = preset.sub_rule if claim == "sub" else "unwise-claim"
        yield _finding(rule, policy, grant, f"do not match {claim!r}: {RULES[rule]}", "to", "claims", claim)


def _list_findings(policy: Policy, grant: Grant, preset: Preset) -> Iterable[Finding]:
    texts = {
        *preset.pins,
        *preset.identity.paths,
        *((name,) for name in (*preset.texts, *preset.required, *preset.unwise)),
    }
    for path, values in grant.claims:
        listed = {isinstance(value, Contains) for value in values}
        name, field = ".".join(path), path[0] if len(path) == 1 else json.dumps(path)
        if listed == {False} and any(_is_at(path, form) for form in preset.lists):
            text = f"{name!r} is a list, which no plain value matches: write {{contains: VALUE}}"
            yield _finding("list-claim", policy, grant, text, "to", "claims", field)
        elif listed == {True} and path in texts:
            text = f"{name!r} is no list, so nothing contains a value: write the value, or a pattern"
            yield _finding("list-claim", policy, grant, text, "to", "claims", field)


def _web_socket_findings(policy: Policy, grant: Grant) -> Iterable[Finding]:
    provider = PROVIDERS[policy.keys.get(grant.key, "generic")]
    for index, scope in enumerate(grant.scope):
        # A pattern is not found, though it opened those beneath it once: most are for reading, and miss nothing.
        path = scope.removeprefix("GET:")
        if path in provider.web_sockets and not paths.scope_opens(grant.scope, paths.WEB_SOCKET, path, provider):
            text = f"{path} answers as a WebSocket alone, which GET does not open: write {paths.WEB_SOCKET}:{path}"
            yield _finding("web-socket", policy, grant, text, "scope", str(index))


def _federation_findings(policy: Policy) -> Iterable[Finding]:
    same: dict[tuple[str, tuple[str, ...]], str] = {}
    accounts: Counter[tuple[str, str]] = Counter()
    for name, ids in policy.federated.items():
        provider = policy.keys.get(name, "")
        kind = FEDERATED.get(provider)
        if kind is None:
            continue
        account = provider, kind.account_of(ids)
        if account in same:
            named = " and ".join(kind.account)
            text = f"key {same[account]!r} has the same account ({named}): give each its own"
            yield _key_finding("shared-account", policy, name, text)
        same.setdefault(account, name)
        counted = provider, ids.get(kind.counted, "")
        accounts[counted] += 1
        if kind.most is not None and accounts[counted] > kind.most:
            text = f"{kind.counted} {counted[1]} is used by more than {kind.most} keys, which is the provider's limit"
            yield _key_finding("shared-account", policy, name, text)


def _key_finding(rule: str, policy: Policy, name: str, text: str) -> Finding:
    path = ("keys", name, "federated")
    return Finding(rule, policy.document.file, policy.document.line_at(path), ".".join(path), text)


def _is_at(path: tuple[str, ...], form: tuple[str, ...]) -> bool:
    return len(path) == len(form) and all(want in (name, "*") for want, name in zip(form, path, strict=True))


def _covered_findings(policy: Policy) -> Iterable[Finding]:
    refused = {issuer.url: issuer.refused for issuer in policy.issuers.values()}
    groups: dict[tuple[str, str], list[Grant]] = {}
    for grant in policy.grants.values():
        groups.setdefault((grant.key, grant.issuer), []).append(grant)
    for (_, issuer), group in groups.items():
        for narrow, wide in sorted(find_covered(group, refused.get(issuer, ())).items()):
            text = f"grant {wide!r} admits everything that this one admits"
            yield _finding("covered", policy, policy.grants[narrow], text)


def _finding(rule: str, policy: Policy, grant: Grant, text: str, *field: str) -> Finding:
    path = ("grants", grant.name, *field)
    return Finding(rule, policy.document.file, policy.document.line_at(path), ".".join(path), text)
