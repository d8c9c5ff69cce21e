"""One call of a provider's API for managing keys: what it answers is taken for what it must be, or for nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from chalicelib import strict_json
from chalicelib.issuers.errors import FetchError
from chalicelib.rotation.management import CALL_SECONDS, PAGE_SECONDS, ManagementError, Send

ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""An id that can stand in a path and means nothing else there."""


class ApiCaller:
    """Makes the calls of one account. base: the API's URL."""

    def __init__(self, base: str, credential: str, send: Send) -> None:
        self._base = base
        self._credential = credential
        self._send = send

    def page(self, path: str) -> Mapping[str, Any]:
        """Return a page of a list; raises as `call`."""
        return self.call("GET", path, within=PAGE_SECONDS)

    def call(
        self, method: str, path: str, body: Mapping[str, object] | None = None, within: float | None = None
    ) -> Mapping[str, Any]:
        """Return the JSON object that is answered with 200 or 201; raises ManagementError."""
        headers = {
            "authorization": f"Bearer {self._credential}",
            "accept": "application/json",
            "user-agent": "keybroker",
            **({"content-type": "application/json"} if body is not None else {}),
        }
        sent = b"" if body is None else json.dumps(body).encode()
        try:
            status, answer = self._send(method, self._base + path, headers, within or CALL_SECONDS, sent)
        except (FetchError, ValueError) as fault:
            # SECURITY: no cause, since a request's error may hold the credential (test_no_credential_is_quoted).
            raise ManagementError(str(fault) if isinstance(fault, FetchError) else "malformed") from None
        if not 200 <= status < 300:
            raise ManagementError(f"status_{status}")
        try:
            found = strict_json.parse(answer)
        except ValueError:
            raise ManagementError("malformed") from None
        if not isinstance(found, Mapping):
            raise ManagementError("malformed")
        return found


def key_id(value: object) -> str:
    """Return a key's id as the provider has it; raises ManagementError for what cannot stand in a path."""
    # SECURITY: it goes into the path of a DELETE (test_an_id_means_nothing_else).
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise ManagementError("malformed")
    return value


def key_value(value: object) -> str:
    """Return a key's value; raises ManagementError unless it can stand in a header."""
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]{8,8192}", value):
        raise ManagementError("malformed")
    return value


def rows(value: object) -> list[Mapping[str, Any]]:
    """Return a list of objects; raises ManagementError for anything else."""
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise ManagementError("malformed")
    return value


def check_id(settings: Mapping[str, str], *names: str) -> None:
    """Raise ValueError, with a text for the administrator, unless these settings are ids."""
    for name in names:
        if name in settings and not ID.fullmatch(settings[name]):
            raise ValueError(f"{name} must be an id: letters, digits, `_` and `-`")
