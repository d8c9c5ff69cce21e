"""What is said of a rotation: what goes on, what is in force, and what becomes of the key before."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from keybroker import duration
from keybroker.cli import output
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.key_pages import page
from keybroker.cli.rotation_wait import OVERLAP
from keybroker.cli.times import format_time

BY_HAND = "by hand"
"""Stands in an event for the id of a key that the broker did not make, and so did not delete."""


def say_what_goes_on(before: Mapping[str, Any]) -> None:
    """Say that a rotation is under way already, if one is."""
    if rotation := before["rotation"]:
        since = duration.words(max(0, int(time.time()) - rotation["started"]))
        output.message(f"going on with the rotation that {rotation['author']} began {since} ago")


def retired(client: AdminClient, name: str) -> dict[str, str]:
    """Return how the newest keys before ended: id of the event -> the provider's id of the key, or `BY_HAND`."""
    found = client.items("/admin/audit", {"kind": "key.retired", "key": name}, 5)
    return {one["id"]: one["detail"]["deleted"] for one in found}


def would(before: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """Say what a rotation would do."""
    if before["rotation"] and not answer["leaked"]:
        return "the rotation under way would go on"
    then = f"after {duration.words(answer['overlap'])}" if answer["overlap"] else "at once"
    return f"a new one would be made, proved and put in force, and the one before deleted {then}"


def say(before: Mapping[str, Any], answer: Mapping[str, Any], deleted: Collection[str]) -> None:
    """Say what is in force, and what became, or becomes, of the key before. deleted: as `retired` has it."""
    name, version = answer["name"], answer["version"]
    if version == before["version"]:
        over = "" if answer["rotation"] else "the rotation that was under way is over; "
        output.message(f"{over}in force as before: {name} version {version}")
    else:
        output.message(f"in force: {name} version {version}, made by the provider's API")
    for one in sorted(deleted):
        if one != BY_HAND:
            output.message(f"deleted at the provider: the key {one}")
        elif before["version"]:
            output.labelled(
                "warning", f"the key before was not made by the broker: delete it by hand at {page(before['provider'])}"
            )
    say_end(answer, before)


def say_end(answer: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> None:
    """Say when the key that was replaced is deleted, if a rotation is in its overlap. before: the key as it was; None: unknown."""
    rotation = answer["rotation"]
    if not rotation or rotation["step"] != OVERLAP:
        return
    name, ends = answer["name"], format_time(rotation["ends"])
    left = duration.words(max(0, rotation["ends"] - int(time.time())))
    if rotation["deletes"]:
        output.message(
            f"the key that it replaces, {rotation['deletes']}, is deleted at the provider in {left} ({ends})"
        )
    elif before is None or before["version"]:
        where = f" at {page(before['provider'])}" if before else " at its provider"
        text = f"the key that it replaces was not made by the broker: delete it by hand{where} after {ends}"
        output.labelled("warning", text)
    if answer["before"]:
        output.message(f"until then the other one can be put in force again: keybroker keys rollback {name}")
