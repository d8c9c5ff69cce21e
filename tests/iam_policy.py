"""Evaluates IAM policies, as far as ours need it. It fails for any element that it does not know.

Rules: IAM User Guide, "Policy evaluation logic" and "IAM JSON policy elements: Condition operators". Stands in where an
emulator judges no condition.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Policy = Mapping[str, Any]
Context = Mapping[str, Sequence[str]]
"""Condition keys of a request, each with its values; a key that is not there is not in the request."""


def allows(policies: Sequence[Policy], action: str, resource: str, context: Context | None = None) -> bool:
    """Whether policies of one identity together allow this: an allow, and no deny."""
    statements = [one for policy in policies for one in _listed(policy["Statement"])]
    matching = [one for one in statements if _matches(one, action, resource, context or {})]
    return any(one["Effect"] == "Allow" for one in matching) and all(one["Effect"] == "Allow" for one in matching)


def _matches(statement: Policy, action: str, resource: str, context: Context) -> bool:
    unknown = statement.keys() - {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
    assert not unknown, f"this evaluation does not know {unknown}"
    named = any(_like(action, one, ignore_case=True) for one in _listed(statement["Action"]))
    on = any(_like(resource, one) for one in _listed(statement["Resource"]))
    return (
        named
        and on
        and all(_holds(operator, wanted, context) for operator, wanted in statement.get("Condition", {}).items())
    )


def _holds(operator: str, wanted: Mapping[str, Any], context: Context) -> bool:
    return all(_holds_for(operator, context.get(key), _listed(values)) for key, values in wanted.items())


def _holds_for(operator: str, found: Sequence[str] | None, wanted: Sequence[str]) -> bool:
    if operator == "Null":
        return (found is None) == (wanted == ["true"])
    if operator == "ForAllValues:StringLike":
        return all(any(_like(value, one) for one in wanted) for value in found or ())  # of none, too
    if operator == "ForAnyValue:StringEquals":
        return any(value in wanted for value in found or ())  # of none, never
    if operator == "ForAnyValue:StringLike":
        return any(_like(value, one) for value in found or () for one in wanted)  # of none, never
    if operator in ("StringEquals", "ArnEquals"):
        return found is not None and len(found) == 1 and found[0] in wanted
    if operator == "StringNotEquals":
        return found is None or found[0] not in wanted
    raise AssertionError(f"this evaluation does not know {operator}")


def _like(value: str, pattern: str, *, ignore_case: bool = False) -> bool:
    form = "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern)
    return re.fullmatch(form, value, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) is not None


def _listed(value: Any) -> list[Any]:  # noqa: ANN401  one, or a list of them
    return value if isinstance(value, list) else [value]
