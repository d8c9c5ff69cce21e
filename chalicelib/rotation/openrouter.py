"""Keys of an account at OpenRouter, by its API for provisioning keys.

Source: https://openrouter.ai/docs/features/provisioning-api-keys, and its SDK 1.3's types.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from typing import Final

from chalicelib.rotation import api_call
from chalicelib.rotation.management import LISTED_LIMIT, CreatedKey, ListedKey, ManagementError, Send

_PAGE: Final = 100
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:Z|\+00:00)")
_CREDITS = re.compile(r"[0-9]{1,7}(\.[0-9]{1,6})?")


class OpenRouterKeys:
    """`KeyManagement`. settings: `limit`, in credits, bounds what a key may spend; `workspace_id` says where it is made."""

    REQUIRED: Final = ()
    OPTIONAL: Final = ("limit", "workspace_id")

    def __init__(self, origin: str, credential: str, settings: Mapping[str, str], send: Send) -> None:
        self._caller = api_call.ApiCaller(f"{origin}/api/v1", credential, send)
        limit, workspace = settings.get("limit"), settings.get("workspace_id")
        self._settings = {
            **({"limit": float(limit)} if limit else {}),
            **({"workspace_id": workspace} if workspace else {}),
        }

    @classmethod
    def check(cls, settings: Mapping[str, str]) -> None:
        """Raise ValueError, with a text for the administrator, unless the settings can be used."""
        api_call.check_id(settings, "workspace_id")
        if "limit" in settings and not _CREDITS.fullmatch(settings["limit"]):
            raise ValueError("limit must be a number of credits, such as 100 or 12.5")

    def create(self, name: str) -> CreatedKey:
        """See `KeyManagement.create`."""
        found = self._caller.call("POST", "/keys", {"name": name, **self._settings})
        about = found.get("data")
        if not isinstance(about, Mapping):
            raise ManagementError("malformed")
        return CreatedKey(api_call.key_id(about.get("hash")), api_call.key_value(found.get("key")))

    def named(self, prefix: str) -> tuple[ListedKey, ...]:
        """See `KeyManagement.named`. It lists disabled keys, too: they could be enabled again."""
        found: list[ListedKey] = []
        for offset in range(0, LISTED_LIMIT, _PAGE):
            page = self._caller.page(f"/keys?include_disabled=true&offset={offset}")
            items = api_call.rows(page.get("data"))
            found += [_listed(one) for one in items]
            if len(items) < _PAGE:
                return tuple(one for one in found if one.name.startswith(prefix))
        raise ManagementError("too_many")

    def delete(self, key_id: str) -> None:
        """See `KeyManagement.delete`."""
        try:
            self._caller.call("DELETE", f"/keys/{api_call.key_id(key_id)}")
        except ManagementError as fault:
            if fault.reason != "status_404":
                raise


def _listed(one: Mapping[str, object]) -> ListedKey:
    name, created = one.get("name"), one.get("created_at")
    return ListedKey(api_call.key_id(one.get("hash")), name if isinstance(name, str) else "", _epoch(created))


def _epoch(at: object) -> int:
    found = _TIME.match(at) if isinstance(at, str) else None
    return calendar.timegm((*map(int, found.groups()), 0, 0, 0)) if found else 0
