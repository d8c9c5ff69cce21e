"""A deployed stage, as its callers and administrators reach it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.aws_cli import AwsCli
from infra.stage import Stage
from keybroker import http_client
from keybroker.http_client import Response

TIMEOUT = 30.0
"""Seconds; API Gateway itself waits no longer than 29."""
_LIMIT = 1024 * 1024

Sign = Callable[[str, str, Mapping[str, str], bytes], Mapping[str, str]]
"""Takes method, URL, headers and body; returns the headers of the signed request."""


class FailedError(Exception):
    """A row does not hold. The text is what was found."""


class NotCheckedError(Exception):
    """A row cannot be checked here. The text says why, and how it can."""


@dataclass(frozen=True)
class Installed:
    """One deployed stage.

    urls: of `broker`, `edge` and `admin`, without a trailing slash
    key: the name of a key that the caller has a grant for, "" for none
    token: gets a token for it; raises NotCheckedError
    sign: signs as the caller
    """

    stage: Stage
    aws: AwsCli
    urls: Mapping[str, str]
    key: str
    token: Callable[[], str]
    sign: Sign

    def ask(self, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Response:
        """Make one request; raises keybroker.Unreachable."""
        return http_client.call(method, url, body, headers or {}, TIMEOUT, _LIMIT)

    def administer(self, method: str, path: str, body: object = None) -> Response:
        """Make one signed request to the administration; raises keybroker.Unreachable."""
        data = b"" if body is None else json.dumps(body).encode()
        unsigned = {"content-type": "application/json"} if data else {}
        url = f"{self.urls['admin']}{path}"
        return self.ask(method, url, data, self.sign(method, url, unsigned, data))

    def call(self, path: str, token: str = "") -> Response:
        """Make one GET of the key's at the edge, with a token or without; raises keybroker.Unreachable."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return self.ask("GET", f"{self.urls['edge']}/{self.key or 'openai'}{path}", b"", headers)


def members(response: Response) -> Mapping[str, Any]:
    """Return the members of a JSON object; empty if the body is none."""
    try:
        found = json.loads(response.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def expect(*, holds: bool, found: str) -> None:
    """Raise FailedError with what was found unless it holds."""
    if not holds:
        raise FailedError(found)
