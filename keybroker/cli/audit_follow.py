"""`keybroker audit --follow`: events as they are written, oldest first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from keybroker.cli import output
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.command_error import QUOTA, REMOTE, CommandError

EVERY: Final = 2.0
"""Seconds from one look to the next."""
_LAG: Final = 60
"""Seconds that each look goes back: an event that is written late has an earlier time."""
_MOST: Final = 1000
"""Events of one look. Beyond them some are left out, which is said."""


def follow(
    client: AdminClient, filters: Mapping[str, object], since: int, pause: Callable[[float], None] = time.sleep
) -> Iterator[dict[str, Any]]:
    """Yield the events from a time on, each once, and then those that come, for ever; raises CommandError.

    A broker that is out of reach or busy is waited for, which is said once.
    """
    seen: dict[str, int] = {}
    was_away = False
    while True:
        try:
            found = list(client.items("/admin/audit", {**filters, "since": since}, _MOST))
        except CommandError as error:
            if error.code not in (REMOTE, QUOTA):
                raise
            if not was_away:
                output.message(f"{error.lines[0]}; asking again every {EVERY:.0f} s")
            was_away = True
            pause(EVERY)
            continue
        if was_away:
            output.message("there again")
            was_away = False
        new = [one for one in found if one["id"] not in seen]
        if len(found) == _MOST and len(new) == _MOST:
            output.message(
                f"more than {_MOST} events at once: some are left out; keybroker audit export has all of them"
            )
        yield from reversed(new)
        seen |= {one["id"]: one["at"] for one in new}
        newest = max(seen.values(), default=since)
        since = max(since, newest - _LAG)
        seen = {id_: at for id_, at in seen.items() if at >= since}
        pause(EVERY)
