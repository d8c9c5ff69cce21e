"""The table of `keybroker keys list`, and a warning for each key that is due to be replaced, or whose replacement is stuck."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from keybroker import duration
from keybroker.cli import output, rotation_problem, shortened
from keybroker.cli.rotation_wait import OVERLAP
from keybroker.cli.shortened import Shortened
from keybroker.cli.times import format_time

_HOW = {
    "by_api": Shortened("by API", "API"),
    "by_hand": Shortened("by hand", "hand"),
    "by_minting": Shortened("minted", "mint"),
}
_SET = Shortened("set; to be minted", "set")
_HEADINGS = ("name", "provider", "how", "set", "used", "due", "rotation", "origin", "header", "author", "version")
_LEFT_OUT = ((160, ()), (120, ("header", "version")), (80, ("header", "version", "author")), (0, ()))
"""(columns of a terminal, which of the table it then does not show); a narrower one shows records, which have all."""


def show(answer: Mapping[str, Any]) -> None:
    """Write what `GET /admin/keys` answers."""
    now = int(time.time())
    keys, complete = answer["items"], answer.get("complete", False)  # a server that does not say has not looked
    columns = output.columns()
    left_out = () if columns is None else next(names for least, names in _LEFT_OUT if columns >= least)
    headings = [name for name in _HEADINGS if name not in left_out]
    output.rows(headings, [_row(key, headings, now, complete=complete) for key in keys])
    for key in keys:
        _warn(key, now)


def _row(key: Mapping[str, Any], headings: Sequence[str], now: int, *, complete: bool) -> list[object]:
    is_set = key["at"] is not None
    cells: dict[str, object] = {
        **{name: key[name] or "-" for name in ("name", "provider", "header", "author", "version")},
        "origin": Shortened(key["origin"], key["origin"].removeprefix("https://")) if key["origin"] else "-",
        "how": _SET if _is_still_set(key) else _HOW.get(key.get("rotates", ""), "-"),
        "set": shortened.age(key["at"]) if is_set else "never",
        "used": _used(key, complete=complete) if is_set else "-",
        "due": _ends(key, now) or (_due(key.get("due"), now) if is_set else "-"),
        "rotation": _rotation(key.get("rotation"), now),
    }
    return [cells[name] for name in headings]


def _used(key: Mapping[str, Any], *, complete: bool) -> object:
    if at := key.get("last_used"):
        return shortened.age(at)
    return "not in 35 d" if complete else "unknown"


def _ends(key: Mapping[str, Any], now: int) -> object:
    """Say when a credential ends that was minted; None of what has no end."""
    at = key.get("expires")
    if not at:
        return None
    return Shortened(f"ends {format_time(at)}", f"in {duration.words(at - now)}" if at > now else "ended")


def _due(at: int | None, now: int) -> object:
    if at is None:
        return "-"
    return Shortened(format_time(at), f"in {duration.words(at - now)}" if at > now else "now")


def _rotation(rotation: Mapping[str, Any] | None, now: int) -> object:
    """Say how far a rotation has come; on a terminal, when it ends."""
    if rotation is None:
        return "-"
    if rotation["problem"]:
        return Shortened(f"{rotation['step']}: {rotation['problem']}", rotation["problem"])
    if rotation["step"] != OVERLAP:
        return rotation["step"]
    left = duration.words(max(0, rotation["ends"] - now))
    return Shortened(f"{OVERLAP}, ends in {left}", f"{left} left")


def _is_still_set(key: Mapping[str, Any]) -> bool:
    """Whether a federated key is called with a value that was set before, since none was minted yet."""
    return key.get("held") == "federated" and key["at"] is not None and key.get("renews") is None


def _left(key: Mapping[str, Any], now: int) -> str:
    if _is_still_set(key):
        return "the value that was set is still used"
    at = key.get("expires")
    if not at:
        return "there is no credential"
    return f"the credential ends in {duration.words(at - now)}" if at > now else "the credential has ended"


def _warn(key: Mapping[str, Any], now: int) -> None:
    """Warn of a value that is due, and of a rotation that came no further."""
    name, due = key["name"], key.get("due")
    if due and due <= now:
        old, late = duration.words(now - key["at"]), duration.words(now - due)
        output.labelled("warning", f"{name}: its value is {old} old, and was due {late} ago")
    if failed := key.get("mint_failure"):
        output.labelled(
            "warning", f"{name}: {_failure(failed)}; {_left(key, now)}; see: keybroker federation test {name}"
        )
    rotation = key.get("rotation")
    if rotation and (rotation["problem"] or rotation["step"] != OVERLAP):
        why = rotation["problem"] and f": {rotation_problem.words(rotation['problem'], name, key['provider'])}"
        output.labelled(
            "warning", f"{name}: its rotation is not finished{why or ''}; go on: keybroker keys rotate {name}"
        )


def _failure(failed: Mapping[str, Any]) -> str:
    """Say why nothing was minted, how often in a row and since when, and which request of the provider's it was."""
    why = failed.get("text") or f"nothing was minted ({failed['problem']})"  # a server from before says no more
    since = f" since {format_time(failed['since'])}" if failed.get("since") else ""
    request = f", the provider's request {failed['request_id']}" if failed.get("request_id") else ""
    return f"{why}, {output.number(failed['failures'], 'time')} in a row{since}{request}"
