"""What parses but is unwise: rules over a policy, each an error unless it is allowed by name (docs/grants.md)."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from chalicelib import patterns
from chalicelib.issuers import presets
from chalicelib.issuers.presets import Preset
from chalicelib.policy.compile import Policy
from chalicelib.policy.compile_to import WEB_IDENTITY
from chalicelib.policy.faults import Path
from chalicelib.policy.grants import Grant
from chalicelib.principal import AWS, RefusedValues

RULES: Mapping[str, str] = {
    "unpinned": "a grant pins none of the ids of its issuer that are never recycled; names can be taken over by others",
    "github-sub": "GitHub's `sub` changed its shape on 2026-07-15 and is configurable; match the claims it is made of",
    "unwise-claim": "the claim holds names that are recycled, or parts that change with every run",
    "any-role": "every role or user of the account is let in, those that are yet to be made included",
    "covered": "whatever the grant admits, another one admits too; callers would have to name one of them",
}
"""The rules, each with its reason."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule broken at one place. line: from 1."""

    rule: str
    file: str
    line: int
    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field}: {self.text} [{self.rule}]"

    def to_json(self) -> dict[str, object]:
        """Return the form that the admin API answers."""
        return asdict(self)


def lint(policy: Policy, known: Mapping[str, Preset], allowed: Iterable[str] = ()) -> tuple[Finding, ...]:
    """Return what is unwise in a policy, by line. allowed: names of RULES to pass over; raises KeyError for others."""
    passed = {rule: RULES[rule] for rule in allowed}
    by_url = {issuer.url: issuer for issuer in policy.issuers.values()}
    found: list[Finding] = []
    for grant in policy.grants.values():
        issuer = by_url.get(grant.issuer)
        found += _claims(policy, grant, known.get(issuer.preset, presets.GENERIC)) if issuer else ()
        if (grant.issuer == AWS or (issuer and issuer.preset == WEB_IDENTITY)) and any(
            "*" in str(value) for _, values in grant.claims for value in values
        ):
            found.append(_finding("any-role", policy, grant, RULES["any-role"], "to", "aws"))
    found += _covered(policy)
    return tuple(sorted((one for one in found if one.rule not in passed), key=lambda one: (one.line, one.rule)))


def _claims(policy: Policy, grant: Grant, preset: Preset) -> Iterable[Finding]:
    matched = {path[0] for path, _ in grant.claims if len(path) == 1}
    pinned = {path for path, values in grant.claims if not any("*" in str(value) for value in values)}
    if preset.pins and not pinned & set(preset.pins):
        text = f"pin {' or '.join('.'.join(path) for path in preset.pins)}; names can be taken over by others"
        yield _finding("unpinned", policy, grant, text, "to", "claims")
    for claim in sorted(matched & set(preset.unwise)):
        rule = "github-sub" if preset.identity.name == "repository_id" and claim == "sub" else "unwise-claim"
        yield _finding(rule, policy, grant, f"do not match {claim!r}: {RULES[rule]}", "to", "claims", claim)


def _covered(policy: Policy) -> Iterable[Finding]:
    refused = {issuer.url: issuer.refused for issuer in policy.issuers.values()}
    groups: dict[tuple[str, str], list[Grant]] = {}
    for grant in policy.grants.values():
        groups.setdefault((grant.key, grant.issuer), []).append(grant)
    for (_, issuer), group in groups.items():
        for narrow, wide in sorted(_pairs(group, refused.get(issuer, ())).items()):
            text = f"grant {wide!r} admits whatever this one admits"
            yield _finding("covered", policy, policy.grants[narrow], text)


def _pairs(group: list[Grant], refused: RefusedValues) -> dict[str, str]:
    """Return narrow -> wide, one for each grant that is covered.

    A narrow one asks, for each of its fields, who has something that covers its rarest value there; a wide one listens
    in one of its fields, where it is asked least. Without that, ten thousand grants would be a hundred million pairs.
    """
    fields = [_fields(grant) for grant in group]
    sharing = Counter(key for one in fields for keys in one for key in keys)
    forms: dict[Path, set[_Form]] = {}
    for path, form, _ in sharing:
        forms.setdefault(path, set()).add(form)
    asked = [[key for keys in one for key in _covering(min(keys, key=sharing.__getitem__), forms)] for one in fields]
    demand = Counter(key for keys in asked for key in keys)
    listening: dict[_Key, list[Grant]] = {}
    for wide, one in zip(group, fields, strict=True):
        for key in min(one, key=lambda keys: sum(demand[key] for key in keys)):
            listening.setdefault(key, []).append(wide)
    found: dict[str, str] = {}
    for narrow, keys in zip(group, asked, strict=True):
        near = (wide for key in keys for wide in listening.get(key, ()))
        covering = next((one for one in near if one is not narrow and covers(one, narrow, refused)), None)
        if covering is not None:
            found[narrow.name] = covering.name
    return found


_Form = tuple[bool, ...]
_Key = tuple[Path, _Form, tuple[str, str]]
"""A field; which segments of its value are `*`; the value, by its type's name and its text."""


def _fields(grant: Grant) -> list[list[_Key]]:
    """The keys of each field's values, but for those fields where anything is covered by nothing: no models, say."""
    fields = [*grant.claims, (("", "scope"), grant.scope)]
    if grant.models and not any("*" in model for model in grant.models):
        fields.append((("", "models"), grant.models))
    return [[_key(path, value) for value in values] for path, values in fields if values]


def _key(path: Path, value: str | int | bool) -> _Key:  # noqa: FBT001  a claim's value
    form = tuple(segment == "*" for segment in patterns.segments(value)) if isinstance(value, str) else ()
    return path, form, (type(value).__name__, str(value))


def _covering(key: _Key, forms: Mapping[Path, set[_Form]]) -> Iterable[_Key]:
    """The keys of all values that cover this one: itself, and `*` where one of the group's forms has it."""
    path, form, (kind, text) = key
    parts = patterns.segments(text) if kind == "str" else [text]
    for wider in forms[path]:
        if len(wider) == len(form):
            stars = wider or (False,)
            yield path, wider, (kind, "".join("*" if star else part for star, part in zip(stars, parts, strict=True)))


def covers(wide: Grant, narrow: Grant, refused: RefusedValues = ()) -> bool:
    """Whether `wide` admits every identity that `narrow` admits, to at least the same scope, models and addresses.

    refused: of their issuer; what only `narrow` lists of it is refused by `wide`.
    """
    wanted, listed = dict(narrow.claims), dict(wide.claims)
    claims = bool(wide.claims) and all(
        path in wanted and all(_value_covered(value, values) for value in wanted[path]) for path, values in wide.claims
    )
    # SECURITY: a value that counts as refused unless it is listed is no narrowing
    # (test_what_covers_admits_whatever_the_covered_one_admits).
    events = all(
        value in listed.get((claim,), ())
        for claim, values in refused
        for value in values
        if value in wanted.get((claim,), ())
    )
    return (
        claims
        and events
        and patterns.covered(narrow.scope, wide.scope)
        and _list_covered(narrow.models, wide.models, patterns.model_matches)
        and _list_covered(narrow.source_ips, wide.source_ips, _contains)
    )


def _list_covered(less: Sequence[str] | None, more: Sequence[str] | None, matches: Callable[[str, str], bool]) -> bool:
    """Whether each of `less` is matched by one of `more`; None stands for any."""
    return more is None or (less is not None and all(any(matches(one, each) for one in more) for each in less))


def _contains(wide: str, narrow: str) -> bool:
    outer, inner = ipaddress.ip_network(wide), ipaddress.ip_network(narrow)
    return outer.version == inner.version and outer.supernet_of(inner)  # type: ignore[arg-type]  # of one version


def _value_covered(value: str | int | bool, values: Iterable[str | int | bool]) -> bool:  # noqa: FBT001  a claim's value
    return any(
        type(value) is type(one)
        and (patterns.matches(one, value) if isinstance(one, str) and isinstance(value, str) else one == value)
        for one in values
    )


def _finding(rule: str, policy: Policy, grant: Grant, text: str, *field: str) -> Finding:
    path = ("grants", grant.name, *field)
    return Finding(rule, policy.document.file, policy.document.line_at(path), ".".join(path), text)
