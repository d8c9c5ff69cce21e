"""An account of the practice provider in which keys are made and deleted, with the faults of a real one."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

MANAGEMENT_KEY = "sk-admin-practice-0123456789abcdef"
"""Opens the practice APIs for managing keys, and nothing else; it is made up, like everything of the practice provider."""
Json = dict[str, object]
Respond = Callable[[int, str], web.Response]
"""Makes an error of the API's own form, of a status and a text."""


@dataclass(slots=True)
class MadeKey:
    """A key that was made by the API."""

    id: str
    name: str
    value: str
    created: int
    expires: int | None = None
    disabled: bool = False


@dataclass(slots=True)
class Faults:
    """What goes wrong."""

    answers: dict[str, list[tuple[bool, int]]] = field(default_factory=dict)
    """For the next requests of a kind (`create`, `list`, `update`, `delete`): whether it is done, and with which status it is
    answered all the same; 0: not at all."""
    unlisted_seconds: float = 0
    """For how long a new key is not in the list."""
    refused_seconds: float = 0
    """For how long a new key is not accepted."""
    keeps_service_accounts_keys: bool = False
    """Whether a service account's key cannot be deleted, but expires, as the older API had it."""
    longest_life: int | None = None
    """Seconds that a key may live at most; then one that would live longer is not made."""


class KeyAccount:
    """The keys of one account."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.keys: dict[str, MadeKey] = {}
        self.faults = Faults()
        self.management_key = MANAGEMENT_KEY
        self.clock = clock

    def accepts(self, value: str) -> bool:
        """Whether a call with this value is answered."""
        now = self.clock()
        return any(one.value == value and self._works(one, now) for one in self.keys.values())

    def make(self, name: str, prefix: str, *, id_prefix: str = "", life: int | None = None) -> MadeKey:
        """Make a key. life: seconds."""
        now = int(self.clock())
        key_id, value = f"{id_prefix}{secrets.token_hex(12)}", f"{prefix}{secrets.token_hex(24)}"
        self.keys[key_id] = made = MadeKey(key_id, name, value, now, None if life is None else now + life)
        return made

    def listed(self) -> list[MadeKey]:
        """Return the keys that a list shows."""
        now = self.clock()
        return [one for one in self.keys.values() if now >= one.created + self.faults.unlisted_seconds]

    def is_managed_by(self, request: web.Request) -> bool:
        """Whether a request has the management key."""
        return request.headers.get("Authorization") == f"Bearer {self.management_key}"

    async def faulty(self, kind: str, respond: Respond, act: Callable[[], web.Response]) -> web.Response:
        """Do what was asked, or not, and answer, or not, as the next fault of its kind has it."""
        queue = self.faults.answers.get(kind)
        if not queue:
            return act()
        is_done, status = queue.pop(0)
        if is_done:
            act()
        if not status:
            await asyncio.sleep(60)
        return respond(status or 500, "a fault that a test asked for")

    def _works(self, key: MadeKey, now: float) -> bool:
        is_fresh = now < key.created + self.faults.refused_seconds
        return not key.disabled and not is_fresh and (key.expires is None or now < key.expires)


def unknown(body: Mapping[str, object], *known: str) -> list[str]:
    """Return the members of a body that an API does not know."""
    return sorted(body.keys() - set(known))
