"""`keybroker usage --mine`: what this process's own identity used, asked with its own token."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Final

from keybroker import client
from keybroker.cli import limit_table, output, shortened, usage_tables
from keybroker.cli.command_error import LOCAL, REMOTE, CommandError
from keybroker.cli.settings import Settings
from keybroker.errors import Refused
from keybroker.fetch import fetch
from keybroker.token import Token, TokenRequest

_MARGIN: Final = 30
"""Seconds before its end from which a token is not used again."""


class OwnUsage:
    """Asks for one's own usage, with one token for as long as it lives: each token counts in the quota of tokens."""

    def __init__(self, settings: Settings, options: Mapping[str, Any]) -> None:
        key = options["key"] or os.environ.get("KEYBROKER_KEY", "")
        given = [name for name, value in options.items() if value not in (None, False) and name not in ("key", "grant")]
        if given:
            raise CommandError(LOCAL, "--mine goes with --key, --grant and --watch alone")
        if not key:
            raise CommandError(LOCAL, "--mine asks with a token for a key: pass --key NAME or set KEYBROKER_KEY")
        self._settings, self._request = settings, TokenRequest(settings.broker_url, key, options["grant"])
        self._token: Token | None = None
        self._ends = 0.0

    def show(self) -> None:
        """Ask, and show it."""
        with output.waiting(f"waiting for {self._request.url}"):
            found = self._ask()
        if self._settings.json:
            output.as_json(found, line=self._settings.lines)
        else:
            _show(found)

    def _ask(self) -> Mapping[str, Any]:
        now = time.monotonic()
        if self._token is None or now >= self._ends:
            self._token = fetch(self._request)
            self._ends = now + self._token.expires_in - _MARGIN
        try:
            return client.own_usage(self._request.url, self._token.access_token, timeout=self._request.timeout)
        except Refused as refused:
            self._token = None
            if refused.status < 500:
                raise
            raise CommandError(REMOTE, str(refused), "server error: try again later") from None


def _show(found: Mapping[str, Any]) -> None:
    about = f"{found['grant']} (key {found['key']})"
    output.members([("principal", found["principal"]), ("grant", about)])
    output.data("")
    output.rows(limit_table.HEADINGS, [limit_table.row(one, found["at"]) for one in found["limits"]])
    output.data("")
    uses = found["usage"]
    output.rows(("window", "calls", "refused", "tokens", "refused"), [_use(one) for one in uses])
    models = [(one["window"], *usage_tables.model_cells(model)) for one in uses for model in one["models"]]
    if models:
        output.data("")
        output.rows(("window", *usage_tables.MODEL_HEADINGS), models)


def _use(one: Mapping[str, Any]) -> tuple[object, ...]:
    refused = (shortened.refused(one[f"refused_{what}"]) for what in ("calls", "tokens"))
    return (one["window"], one["calls"], next(refused), one["tokens"], next(refused))
