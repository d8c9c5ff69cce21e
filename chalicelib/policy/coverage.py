"""Which grants cover others: a wide grant admits every identity that a narrow one admits, to at least as much."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from chalicelib import patterns
from chalicelib.policy.accepted_values import AcceptedValue, Contains, is_covered
from chalicelib.policy.grants import Grant
from chalicelib.principal import RefusedValues

_Path = tuple[str, ...]


def covers(wide: Grant, narrow: Grant, refused: RefusedValues = ()) -> bool:
    """Whether `wide` admits every identity that `narrow` admits, to at least the same scope, models and addresses.

    refused: of their issuer; what only `narrow` lists of it is refused by `wide`.
    """
    return (
        admits_all(wide, narrow, refused)
        and patterns.scope_covered(narrow.scope, wide.scope)
        and _list_covered(narrow.models, wide.models, patterns.model_matches)
        and _list_covered(narrow.source_ips, wide.source_ips, _contains)
    )


def admits_all(wide: Grant, narrow: Grant, refused: RefusedValues = ()) -> bool:
    """Whether `wide` admits every identity of their issuer that `narrow` admits, whatever for; refused: as in `covers`."""
    wanted, listed = dict(narrow.claims), dict(wide.claims)
    claims = bool(wide.claims) and all(
        path in wanted and all(is_covered(value, values) for value in wanted[path]) for path, values in wide.claims
    )
    # SECURITY: listing a value that is refused unless it is listed admits more, not less
    # (test_cover_admits_all).
    events = all(
        one in listed.get((claim,), ())
        for claim, values in refused
        for value in values
        for one in (value, Contains(value))
        if one in wanted.get((claim,), ())
    )
    return claims and events


def _list_covered(less: Sequence[str] | None, more: Sequence[str] | None, matches: Callable[[str, str], bool]) -> bool:
    """Whether each of `less` is matched by one of `more`; None stands for any."""
    return more is None or (less is not None and all(any(matches(one, each) for one in more) for each in less))


def _contains(wide: str, narrow: str) -> bool:
    outer, inner = ipaddress.ip_network(wide), ipaddress.ip_network(narrow)
    return outer.version == inner.version and outer.supernet_of(inner)  # type: ignore[arg-type]  # of one version


def find_covered(group: Sequence[Grant], refused: RefusedValues) -> dict[str, str]:
    """Return narrow -> wide, by name, for each grant of an issuer and key that another one covers.

    A narrow grant looks, in each of its fields, for grants with a value that covers its own rarest one; a wide grant is
    filed under one of its fields, the one that is looked up least. Comparing all pairs of ten thousand grants instead
    would be a hundred million comparisons.
    """
    fields = [_fields(grant) for grant in group]
    sharing = Counter(key for one in fields for keys in one for key in keys)
    known = _texts(sharing)
    wanted = [[key for keys in one for key in _covering(min(keys, key=sharing.__getitem__), known)] for one in fields]
    demand = Counter(key for keys in wanted for key in keys)
    filed: dict[_Key, list[Grant]] = {}
    for wide, one in zip(group, fields, strict=True):
        for key in min(one, key=lambda keys: sum(demand[key] for key in keys)):
            filed.setdefault(key, []).append(wide)
    found: dict[str, str] = {}
    for narrow, keys in zip(group, wanted, strict=True):
        near = (wide for key in keys for wide in filed.get(key, ()))
        covering = next((one for one in near if one is not narrow and covers(one, narrow, refused)), None)
        if covering is not None:
            found[narrow.name] = covering.name
    return found


_Key = tuple[_Path, str, str]
"""A field; the kind of its value; the value's text."""
_Form = tuple[int | None, ...]
"""How many characters count of each segment of a text: None for all, 0 for `*`."""
_Texts = Mapping[tuple[_Path, str], Mapping[_Form, tuple[set[int | None], set[str]]]]
"""By field and kind, and by the form of all segments but the last: the forms of the last, and the texts."""


def _fields(grant: Grant) -> list[list[_Key]]:
    """The keys of each field's values, without fields in which an absent value covers everything, such as `models`."""
    fields = [*grant.claims]
    # A `*` covers a scope of another form: `/**` any depth, `/*/` a segment with `:` in it; so does one that is encoded.
    if not any("*" in one or "%" in one for one in grant.scope):
        fields.append((("", "scope"), grant.scope))
    if grant.models and not any("*" in model for model in grant.models):
        fields.append((("", "models"), grant.models))
    return [[_key(path, value) for value in values] for path, values in fields if values]


def _key(path: _Path, accepted: AcceptedValue) -> _Key:
    if isinstance(accepted, Contains):
        return path, f"contains {type(accepted.value).__name__}", str(accepted.value)
    return path, type(accepted).__name__, str(accepted)


def _texts(keys: Iterable[_Key]) -> _Texts:
    found: dict[tuple[_Path, str], dict[_Form, tuple[set[int | None], set[str]]]] = {}
    for path, kind, text in keys:
        *head, last = (len(part) - 1 if part.endswith("*") else None for part in patterns.segments(text))
        counts, texts = found.setdefault((path, kind), {}).setdefault(tuple(head), (set(), set()))
        counts.add(last)
        texts.add(text)
    return found


def _covering(key: _Key, known: _Texts) -> Iterable[_Key]:
    """The keys of all known values that may cover this one: itself, and patterns."""
    path, kind, text = key
    *head, last = patterns.segments(text)
    for form, (counts, texts) in known[path, kind].items():
        if len(form) == len(head):
            pairs = zip(form, head, strict=True)
            start = "".join(part if count is None else part[:count] + "*" for count, part in pairs)
            wider = (start + (last if count is None else last[:count] + "*") for count in counts)
            yield from ((path, kind, one) for one in wider if one in texts)
