"""What a grant accepts as a claim's value: one value, or a list that contains one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from chalicelib import patterns

Value = str | int | bool
"""Text is a pattern."""


class Contains(NamedTuple):
    """A claim that is a list, with this value among its elements."""

    value: Value

    def __str__(self) -> str:
        return f"contains {self.value}"


AcceptedValue = Value | Contains
AcceptedValues = tuple[AcceptedValue, ...]
"""Any of them will do."""


def meets(wanted: AcceptedValue, found: object) -> bool:
    """Whether a claim has a value that is accepted."""
    if isinstance(wanted, Contains):
        # SECURITY: only a list has elements. Text has characters, a mapping has names, and neither contains anything
        # (test_only_a_list_contains).
        return isinstance(found, list) and any(meets(wanted.value, one) for one in found)
    # SECURITY: types are compared first, for True == 1 in Python (test_types_are_never_coerced).
    if type(wanted) is not type(found):
        return False
    return (
        patterns.claim_matches(wanted, found) if isinstance(wanted, str) and isinstance(found, str) else wanted == found
    )


def elements(found: object) -> list[object]:
    """Return what a claim holds: the elements of a list, also of lists in it; else the value alone."""
    return [one for each in found for one in elements(each)] if isinstance(found, list) else [found]


def lists(accepted: Iterable[AcceptedValue], value: object, *, in_list: bool) -> bool:
    """Whether this very value is accepted by name, no pattern of it. in_list: as the element of a list."""
    return any(
        isinstance(one, Contains) is in_list and type(_plain(one)) is type(value) and _plain(one) == value
        for one in accepted
    )


def is_covered(narrow: AcceptedValue, wide: Iterable[AcceptedValue]) -> bool:
    """Whether one of `wide` accepts everything that `narrow` accepts; a pattern is read as a value."""
    return any(
        isinstance(narrow, Contains) == isinstance(one, Contains) and meets(_plain(one), _plain(narrow)) for one in wide
    )


def is_pattern(accepted: AcceptedValue) -> bool:
    """Whether more than one value is accepted."""
    return "*" in str(_plain(accepted))


def to_json(accepted: AcceptedValue) -> Value | Mapping[str, Value]:
    """Return the form that state adapters store and the admin API answers, which is that of the policy file."""
    return {"contains": accepted.value} if isinstance(accepted, Contains) else accepted


def from_json(stored: Value | Mapping[str, Value]) -> AcceptedValue:
    """Read that form back."""
    return Contains(stored["contains"]) if isinstance(stored, Mapping) else stored


def _plain(accepted: AcceptedValue) -> Value:
    return accepted.value if isinstance(accepted, Contains) else accepted
