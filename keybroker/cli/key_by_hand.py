"""A key that people replace: says where to make the new one, asks for its value, puts it in force."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keybroker.cli import key_leak, key_value, output
from keybroker.cli.admin_client import AdminClient, segment
from keybroker.cli.command_error import DONE, LOCAL, CommandError
from keybroker.cli.key_pages import MANAGED, page
from keybroker.cli.rotated import BY_HAND
from keybroker.cli.settings import Settings


def replace(client: AdminClient, settings: Settings, before: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    """Do it; return the exit code. before: the key as `GET /admin/keys` has it. Raises CommandError."""
    name, leaked, where = before["name"], options["leaked"], page(before["provider"])
    if options["overlap"] is not None:
        text = f"{name} is replaced by hand: both values work until you delete the old one at {where}"
        raise CommandError(LOCAL, text, "leave --overlap out")
    if options["file"] is None:
        output.message(f"make a new key with the same rights at {where}")
    body = {"value": key_value.read(options["file"])}
    query = {"dry_run": options["dry_run"], "leaked": leaked}
    answer = client.call("PUT", f"/admin/keys/{segment(name)}", query, body).body
    if options["dry_run"]:
        _say_rehearsed(settings, name, answer)
        return DONE
    used = key_leak.used(client, before) if leaked else None
    if settings.json:
        output.as_json({**answer, **({"used": used.rows} if used else {})})
        return DONE
    output.message(f"in force: {name} version {answer['version']}, sent to {answer['origin']} as {answer['header']}")
    if answer["probe"] != "works":
        output.labelled("warning", f"the provider did not say that it works ({answer['probe']}): make a call to see")
    if used:
        key_leak.show(used, before, [BY_HAND])
    elif before["version"]:
        _say_what_is_left(name, before["provider"], where)
    return DONE


def _say_rehearsed(settings: Settings, name: str, answer: Mapping[str, Any]) -> None:
    if settings.json:
        output.as_json(answer)
    else:
        output.message(
            f"dry run: the provider knows the value, and {name} would be sent to {answer['origin']}; nothing was changed"
        )


def _say_what_is_left(name: str, provider: str, where: str) -> None:
    output.labelled(
        "warning", f"the old key still works at the provider: delete it at {where} once running calls have ended"
    )
    output.message(f"until then you can go back: keybroker keys rollback {name}")
    if provider in MANAGED:
        output.message(f"the broker can do all of this itself: keybroker keys manage {name} --help")
