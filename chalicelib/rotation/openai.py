"""Keys of a service account of a project at OpenAI, by its administration API.

Source: https://platform.openai.com/docs/api-reference/project-api-keys, and openai-python 3.57's types.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from chalicelib.rotation import api_call
from chalicelib.rotation.management import LISTED_LIMIT, CreatedKey, ListedKey, ManagementError, Send

_PAGE: Final = 100
_SOON_SECONDS: Final = 60
_SCOPE = re.compile(r"[a-z0-9._-]{1,64}")


class OpenAiKeys:
    """`KeyManagement`. settings: `project` and `service_account` are ids, `scopes` is what a key may do, by commas."""

    REQUIRED: Final = ("project", "service_account")
    OPTIONAL: Final = ("scopes",)

    def __init__(self, origin: str, credential: str, settings: Mapping[str, str], send: Send) -> None:
        self._caller = api_call.ApiCaller(f"{origin}/v1", credential, send)
        project, account = settings["project"], settings["service_account"]
        self._keys = f"/organization/projects/{project}/api_keys"
        self._made = f"/organization/projects/{project}/service_accounts/{account}/api_keys"
        self._scopes = _scopes(settings)

    @classmethod
    def check(cls, settings: Mapping[str, str]) -> None:
        """Raise ValueError, with a text for the administrator, unless the settings can be used."""
        api_call.check_id(settings, *cls.REQUIRED)
        # SECURITY: to OpenAI an empty list of scopes is all of them (test_no_scopes_are_not_all).
        if "scopes" in settings and not all(map(_SCOPE.fullmatch, _scopes(settings) or [""])):
            raise ValueError("scopes must be the names of scopes, separated by commas; leave it out for all")

    def create(self, name: str) -> CreatedKey:
        """See `KeyManagement.create`."""
        body = {"name": name, **({"scopes": self._scopes} if self._scopes else {})}
        found = self._caller.call("POST", self._made, body)
        return CreatedKey(api_call.key_id(found.get("id")), api_call.key_value(found.get("value")))

    def named(self, prefix: str) -> tuple[ListedKey, ...]:
        """See `KeyManagement.named`. Keys of owners without access are listed, too: they could get it back."""
        found: list[ListedKey] = []
        after = ""
        for _ in range(LISTED_LIMIT // _PAGE):
            page = self._caller.page(f"{self._keys}?limit={_PAGE}&owner_project_access=any{after}")
            items = api_call.rows(page.get("data"))
            found += [_listed(one) for one in items]
            if page.get("has_more") is not True or not items:
                return tuple(one for one in found if one.name.startswith(prefix))
            after = f"&after={api_call.key_id(items[-1].get('id'))}"
        raise ManagementError("too_many")

    def delete(self, key_id: str) -> None:
        """See `KeyManagement.delete`. Where a service account's key cannot be deleted, it expires at once instead."""
        path = f"{self._keys}/{api_call.key_id(key_id)}"
        try:
            self._caller.call("DELETE", path)
        except ManagementError as fault:
            if fault.reason == "status_404":
                return
            if fault.reason != "status_400":  # as of 2026-08 a key of a service account was not deleted by this route
                raise
            self._caller.call("POST", path, {"expires_in_seconds": _SOON_SECONDS})


def _scopes(settings: Mapping[str, str]) -> list[str]:
    return [one.strip() for one in settings.get("scopes", "").split(",") if one.strip()]


def _listed(one: Mapping[str, object]) -> ListedKey:
    created = one.get("created_at")
    name = one.get("name")
    return ListedKey(
        api_call.key_id(one.get("id")),
        name if isinstance(name, str) else "",  # a key that someone made without one
        created if isinstance(created, int) else 0,
    )
