"""The call that an edge refused, found by the request id that its caller was shown, with what to do about it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

from keybroker.cli import edge_log, output
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.command_error import CommandError
from keybroker.cli.times import format_time

_DAY: Final = 86400
_OF_CLAIMS: Final = ("_future", "_missing", "_malformed")


def show(client: AdminClient, request_id: str, span: tuple[int | None, int | None], *, as_json: bool) -> bool:
    """Show it, and return whether there is one; say where it was looked for. span: since and until, epoch seconds."""
    try:
        answer = client.get("/admin/refusals", {"request_id": request_id})
    except CommandError as error:
        output.labelled("warning", f"whether an edge refused this call cannot be said: {error.lines[0]}")
        return False
    found = answer["items"][0] if answer["items"] else None
    if found is None and answer["edge_log"]:
        found = _in_log(answer["edge_log"], request_id, span)
    if found is None:
        output.message(
            f"no edge keeps a refused call of {request_id}: each is kept for a day, and of a flood the newest"
        )
        return False
    _print(found, as_json=as_json)
    return True


def meaning(reason: str, status: int) -> str:
    """Return what a reason means and what to do, in words; "" for one that is not known here."""
    texts = _texts()
    if reason in texts:
        return texts[reason]
    if reason.startswith("fault_"):
        return texts["fault_<Type>"]
    is_of_token = status == 401 and reason.endswith(_OF_CLAIMS)
    return texts["exp_past"] if is_of_token else ""


def _texts() -> Mapping[str, str]:
    text = resources.files("keybroker.cli").joinpath("refusals.json").read_text(encoding="utf-8")
    found: dict[str, str] = json.loads(text)
    return found


def _in_log(group: str, request_id: str, span: tuple[int | None, int | None]) -> Mapping[str, Any] | None:
    until = span[1] or int(time.time())
    since = span[0] if span[0] is not None else until - _DAY
    try:
        looked = edge_log.find(group, request_id, since, until)
    except CommandError as error:
        output.labelled("warning", f"the edge's log {group} was not read: {error.lines[0]}")
        return None
    if looked.call is None:
        where = ", ".join(looked.regions) or "no region"
        output.message(f"not in {group} from {format_time(since)} on, read in {where}; --since TIME looks further back")
        for region, why in looked.unread.items():
            output.labelled("warning", f"not read in {region}: {why}")
    return looked.call


def _print(call: Mapping[str, Any], *, as_json: bool) -> None:
    means = meaning(call["reason"], call["status"])
    if as_json:
        output.json_line({"door": "edge", **call, "meaning": means})
        return
    refused = "ended under way" if call["under_way"] else "refused"
    named = {"key": "key", "grant": "grant", "principal": "principal", "token": "jti", "cause": "cause"}
    output.members(
        [
            (refused, f"at the edge, {format_time(call['at'])}"),
            ("request", call["request_id"]),
            ("reason", f"{call['reason']}, answered with {call['status']}"),
            *([("meaning", means)] if means else []),
            *((name, call[member]) for name, member in named.items() if call[member]),
        ]
    )
