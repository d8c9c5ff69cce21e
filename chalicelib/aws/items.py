"""What DynamoDB's items and answers hold. The items are laid out in docs/data-model.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.errors import StateUnread

Item = Mapping[str, Any]
"""An item in DynamoDB's own form: name -> {"S": …} or {"N": …}."""


def held(answer: Any, name: str) -> Any:  # noqa: ANN401  as the answer has it
    """Return what an answer, or a part of it, must hold; raises Unavailable if it does not."""
    # SECURITY: 200 with `{}` is no answer: it must not read as a counter at 0, nor be a fault of ours
    # (test_an_answer_without_what_it_must_hold_is_refused).
    if not isinstance(answer, dict) or name not in answer:
        raise StateUnread
    return answer[name]


def number(item: Item, name: str) -> int:
    """Return a number of an item, 0 if it is not there; raises Unavailable if it is no number."""
    try:
        return int(item[name]["N"]) if name in item else 0
    except (KeyError, TypeError, ValueError) as error:
        raise StateUnread from error


def text(item: Item, name: str) -> str:
    """Return a text of an item, "" if it is not there; raises Unavailable if it is no text."""
    if not isinstance(item, dict):
        raise StateUnread
    return str(held(item[name], "S")) if name in item else ""
