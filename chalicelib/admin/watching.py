"""What is measured of the calls of some minutes: numbers by key and reason, never by principal, and a line that names the few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from chalicelib.admin import unusual

NAMED = 10
"""Principals that a line names for each of its reasons, at most."""
NAME_LENGTH = 200
"""Characters of a principal's id in a line, at most."""
SERIES = 200
"""Pairs of key and reason that are measured, at most: each is a metric that costs."""
LEAST_REFUSED = 20
"""Refusals below which their share says nothing."""
NONE = "none"
"""Stands for a key that the policy does not name (any more)."""
QUOTA = frozenset({"quota_calls", "quota_usage", "quota_spend"})
OURS = ("state_", "provider_key", "signing_unavailable", "signing_keys_unavailable", "fault_")
"""How the reasons begin of what was not the caller's fault."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one principal did under one grant in some minutes."""

    principal: str
    grant: str
    key: str
    """The grant's key; "" if it is not known."""
    calls: int
    """Calls admitted."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Calls refused, by reason."""
    hour: int = 0
    """Calls admitted in this hour so far."""
    usual: int | None = None
    """The most that an hour of its own had; None if it never called before or was not looked at."""
    first: bool = False
    """Whether these are its first calls with this key, as far back as counts are kept."""

    def refusals(self, wanted: Callable[[str], bool] = bool) -> int:
        """Return how many calls were refused, for the reasons that are wanted."""
        return sum(count for reason, count in self.refused.items() if wanted(reason))


class Metrics(NamedTuple):
    """Some numbers under the same dimensions, which are names from the policy and fixed words."""

    dimensions: Mapping[str, str]
    values: Mapping[str, float]


def measured(
    seen: Sequence[Seen], ages: Mapping[str, int | None], key_days: Mapping[str, int], *, unread: int
) -> list[Metrics]:
    """Return the metrics of some minutes.

    ages: days since the value of each key of the policy was set, None if it never was. key_days: after which each is past
    its date, 0 for never. unread: principals, or histories of them, that were more than are read.
    """
    calls, refusals = sum(one.calls for one in seen), sum(one.refusals() for one in seen)
    busiest = max(_by(seen, lambda one: one.principal).values(), default=0)
    together = {
        "Heartbeat": 1,
        "Calls": calls,
        "Refusals": refusals,
        "RefusedShare": _share(refusals, calls + refusals) if refusals >= LEAST_REFUSED else 0,
        "Principals": len({one.principal for one in seen if one.calls}),
        "TopShare": _share(busiest, calls),
        "PrincipalsRefused": _count(seen, _is_mostly_refused),
        "PrincipalsUnusual": _count(seen, _is_unusual),
        "FirstUses": _count(seen, _is_first),
        "PrincipalsOverQuota": _count(seen, _is_over_quota),
        "CallsAfterRevocation": sum(one.refusals(_is_revoked) for one in seen),
        "StateErrors": sum(one.refusals(_is_ours) for one in seen),
        "KeysPastDate": sum(age is not None and 0 < key_days[key] < age for key, age in ages.items()),
        "Unread": unread,
    }
    return [Metrics({}, together), *_of_keys(seen, ages), *_of_reasons(seen, ages)]


def told(seen: Sequence[Seen]) -> dict[str, Any]:
    """Return who is behind the numbers, a few for each; empty if nobody did anything. It may hold people's names."""
    lists = {
        "busiest": sorted((one for one in seen if one.calls), key=lambda one: -one.calls),
        "refused": [one for one in seen if _is_mostly_refused(one)],
        "unusual": [one for one in seen if _is_unusual(one)],
        "first_use": [one for one in seen if _is_first(one)],
        "over_quota": [one for one in seen if _is_over_quota(one)],
        "after_revocation": [one for one in seen if one.refusals(_is_revoked)],
    }
    return {name: [_shown(one) for one in found[:NAMED]] for name, found in lists.items() if found}


def _shown(one: Seen) -> dict[str, Any]:
    shown = {"principal": one.principal[:NAME_LENGTH], "grant": one.grant, "key": one.key}
    return {**shown, "calls": one.calls, "refused": one.refusals(), "hour": one.hour, "usual": one.usual}


def _is_mostly_refused(one: Seen) -> bool:
    return one.refusals() >= max(LEAST_REFUSED, one.calls)


def _is_unusual(one: Seen) -> bool:
    return unusual.is_unusual(one.hour, one.usual)


def _is_first(one: Seen) -> bool:
    return one.first


def _is_over_quota(one: Seen) -> bool:
    return one.refusals(QUOTA.__contains__) > 0


def _is_revoked(reason: str) -> bool:
    return reason.startswith("revoked_")


def _is_ours(reason: str) -> bool:
    return reason.startswith(OURS)


def _count(seen: Iterable[Seen], wanted: Callable[[Seen], bool]) -> int:
    return len({one.principal for one in seen if wanted(one)})


def _by(seen: Iterable[Seen], name: Callable[[Seen], str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in seen:
        found[name(one)] += one.calls
    return found


def _share(part: int, whole: int) -> float:
    """Return a part in per cent, 0 of nothing."""
    return round(100 * part / whole, 1) if whole else 0


def _of_keys(seen: Sequence[Seen], ages: Mapping[str, int | None]) -> list[Metrics]:
    # SECURITY: keys of the policy alone, so that no caller makes a metric (test_callers_make_no_metric).
    found: dict[str, dict[str, float]] = {key: {"Calls": 0, "Refusals": 0} for key in ages}
    for key, age in ages.items():
        if age is not None:
            found[key]["KeyAgeDays"] = age
    for one in seen:
        values = found.setdefault(_known(one.key, ages), {"Calls": 0, "Refusals": 0})
        values["Calls"] += one.calls
        values["Refusals"] += one.refusals()
    return [Metrics({"key": key}, values) for key, values in found.items()]


def _of_reasons(seen: Sequence[Seen], ages: Mapping[str, int | None]) -> list[Metrics]:
    found: Counter[tuple[str, str]] = Counter()
    for one in seen:
        for reason, count in one.refused.items():
            found[_known(one.key, ages), reason] += count
    series = found.most_common(SERIES)
    return [Metrics({"key": key, "reason": reason}, {"Refusals": count}) for (key, reason), count in series]


def _known(key: str, ages: Mapping[str, int | None]) -> str:
    return key if key in ages else NONE
