"""The edge function over real adapters, called as CloudFront calls it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import edge
from chalicelib.models.body import CallBody
from tests.parts import ISSUERS, Parts

TOKEN_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
REQUEST_ID = "request-1"
CHAT = "/openai/v1/chat/completions"
HOSTS_OF_THEIR_OWN = "https://api.internal.example.com"
"""An origin for providers that have none of their own."""
Result = dict[str, Any]


class Door:
    """The edge function over real parts. log: its lines."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.log: list[str] = []
        self.handle: Callable[[Mapping[str, Any], object], Result] = edge.make_handler(self._ports)

    def _ports(self) -> edge.Ports:
        return self.parts.edge_ports(self.log)

    def send(self, *headers: tuple[str, str], uri: str = CHAT, query: str = "", method: str = "POST") -> Result:
        """Send a call with these headers."""
        return self.handle(event(*headers, uri=uri, query=query, method=method), None)

    @property
    def line(self) -> dict[str, Any]:
        """The only line of the log."""
        (one,) = self.log
        found: dict[str, Any] = json.loads(one)
        return found


def event(*headers: tuple[str, str], uri: str = CHAT, query: str = "", method: str = "POST") -> dict[str, Any]:
    """An origin-request event."""
    grouped: dict[str, list[dict[str, str]]] = {"host": [{"key": "Host", "value": "origin.invalid"}]}
    for name, value in headers:
        grouped.setdefault(name.lower(), []).append({"key": name, "value": value})
    request = {
        "clientIp": "203.0.113.1",
        "headers": grouped,
        "method": method,
        "origin": {"custom": {"domainName": "origin.invalid", "keepaliveTimeout": 5, "readTimeout": 120}},
        "querystring": query,
        "uri": uri,
    }
    return {"Records": [{"cf": {"config": {"requestId": REQUEST_ID}, "request": request}}]}


def refusal(result: Result) -> tuple[str, str]:
    """Status and code."""
    return result["status"], json.loads(result["body"])["error"]["code"]


def values(result: Result, name: str) -> list[str]:
    """The values of a header."""
    return [one["value"] for one in result["headers"].get(name, ())]


def policy_for(provider: str, *scope: str) -> str:
    """A policy with one key and one grant, `app`, that opens this scope; the key is named as its provider."""
    issuers = ISSUERS[ISSUERS.index("issuers:") :]
    return f"""\
keys: {{{provider}: {{provider: {provider}}}}}
{issuers}grants:
  app:
    key: {provider}
    to: {{issuer: ci, claims: {{repository_owner_id: "9919"}}}}
    scope: {json.dumps(scope)}
    quota: {{tokens: 100000/hour, calls: [1000000/minute]}}
"""


def provide(parts: Parts, provider: str, *scope: str, origin: str | None = None, header: str | None = None) -> str:
    """Put a policy for one provider in force and set its key; return a token for it."""
    parts.apply(policy_for(provider, *scope))
    parts.set_key(provider, f"key-of-{provider}", origin=origin, header=header)
    return parts.exchange(audience=provider).access_token


def chat_body(model: str, **changes: Any) -> CallBody:  # noqa: ANN401  CallBody's fields
    """Return the body of a chat completion, as the edge is shown it."""
    content = base64.b64encode(json.dumps({"model": model, "messages": []}).encode()).decode()
    return replace(CallBody(content, truncated=False, content_types=("application/json",)), **changes)
