"""The table of `keybroker keys list`, and a warning for each key whose value is due to be replaced."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from keybroker import duration
from keybroker.cli import output, shortened
from keybroker.cli.shortened import Shortened
from keybroker.cli.times import format_time

_HEADINGS = ("name", "provider", "set", "used", "due", "origin", "header", "author", "version")


def show(answer: Mapping[str, Any]) -> None:
    """Write what `GET /admin/keys` answers."""
    now = int(time.time())
    keys, complete = answer["items"], answer.get("complete", False)  # a server that does not say has not looked
    output.rows(_HEADINGS, [_row(key, now, complete=complete) for key in keys])
    for key in keys:
        due = key.get("due")
        if due and due <= now:
            old, late = duration.words(now - key["at"]), duration.words(now - due)
            output.labelled("warning", f"{key['name']}: its value is {old} old, and was due {late} ago")


def _row(key: Mapping[str, Any], now: int, *, complete: bool) -> tuple[object, ...]:
    if key["at"] is None:
        return key["name"], key["provider"], "never", *("-" for _ in _HEADINGS[3:])
    others = (key[name] or "-" for name in _HEADINGS[5:])
    set_at = shortened.age(key["at"])
    return key["name"], key["provider"], set_at, _used(key, complete=complete), _due(key.get("due"), now), *others


def _used(key: Mapping[str, Any], *, complete: bool) -> object:
    if at := key.get("last_used"):
        return shortened.age(at)
    return "not in 35 d" if complete else "unknown"


def _due(at: int | None, now: int) -> object:
    if at is None:
        return "-"
    return Shortened(format_time(at), f"in {duration.words(at - now)}" if at > now else "now")
