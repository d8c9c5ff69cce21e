"""The edge function, over real parts: what it may answer, whatever it is sent."""

from __future__ import annotations

import base64
import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import edge
from chalicelib.edge.admission import Edge
from chalicelib.providers.header_names import TOKEN_HEADERS
from chalicelib.providers.presets import PROVIDERS
from local.provider_key_file import ProviderKeyFile
from local.signing_key_file import SigningKeyFile
from local.simulator.function_result import (
    GeneratedResponse,
    MalformedResultError,
    OriginRequest,
    parse_result,
    protected_headers,
)
from local.simulator.origin_request_event import Event
from local.sqlite.edge_state import SqliteEdgeState
from local.sqlite.state_file import StateFile
from tests import cgi
from tests.fuzz import edge_events
from tests.fuzz.edge_events import Tokens
from tests.fuzz.target import Target
from tests.parts import BROKER, EDGE, ISSUERS, NOW, Parts, parts_in

KEYS = {name: f"sk-real-{name}-0123456789abcdef" for name in ("openai", "anthropic", "generic")}
HOSTS = {"openai": "api.openai.com", "anthropic": "api.anthropic.com", "generic": "internal.example"}
OWN = {"generic": edge_events.OWN_HEADER}
"""The header of a key, where it is not its provider's."""
HEADERS = {"openai": "HTTP_AUTHORIZATION", "anthropic": "HTTP_X_API_KEY", "generic": "HTTP_X_VENDOR_KEY"}
"""The variable in which a server of the CGI kind finds its key."""
POLICY = (
    ISSUERS.replace("keys:", "keys:\n  generic: {provider: generic}")
    + """\
grants:
  any:
    key: generic
    to: {issuer: ci, claims: {repository_owner_id: "9919"}}
    scope: ["GET:/anything/at/all", "POST:/anything/*/*", "PUT:/anything/at/*"]
    quota: {tokens: 1000/hour, calls: [100000000/minute]}
  app:
    key: openai
    to: {issuer: ci, claims: {repository_owner_id: "9919"}}
    scope: ["POST:/v1/chat/completions", "GET:/v1/models", "GET:/v1/models/*", "POST:/v1/files", "POST:/v1/batches"]
    quota: {tokens: 1000/hour, calls: [100000000/minute]}
  claude:
    key: anthropic
    to: {issuer: ci, claims: {repository_owner_id: "9919"}}
    scope: ["POST:/v1/messages", "GET:/v1/models"]
    models: [gpt-5-mini, "claude-*"]
    quota: {tokens: 1000/hour, calls: [100000000/minute]}
"""
)


class Stage:
    """The function with its state, and the tokens that are tried. Made by `staged`."""

    def __init__(self, parts: Parts) -> None:
        parts.apply(POLICY)
        for name, value in KEYS.items():
            parts.set_key(name, value, origin=f"https://{HOSTS[name]}", header=OWN.get(name))
        self.good = {name: parts.exchange(audience=name).access_token for name in KEYS}
        expired = parts.token(now=NOW - 3600)
        self.tokens = Tokens(self.good, [expired, "made-up", "a.b.c", ""])
        self.log: list[str] = []
        edge_state = SqliteEdgeState(StateFile(parts.directory / "state.db", durable=False).bind())
        signing = SigningKeyFile(parts.directory / "signing-key.pem")
        own = Edge(edge_state, signing, ProviderKeyFile(parts.directory / "provider-keys.json"), BROKER, EDGE)
        self.handle = edge.make_handler(lambda: edge.Ports(own, lambda: NOW, self.log.append))

    def targets(self) -> list[Target]:
        """Return what is fuzzed here."""
        return [
            Target("edge", edge_events.plausible(self.tokens), self.check),
            Target("edge-headers", edge_events.respelled(self.tokens), self.check),
            Target("edge-broken", edge_events.broken(self.tokens), self.check_broken),
        ]

    def check(self, event: Event) -> None:
        """What CloudFront sends is answered with what it acts on, and is never a fault of ours."""
        result = self._answered(event)
        request = event["Records"][0]["cf"]["request"]
        order = parse_result(result, request["method"], protected_headers(request["headers"]))
        if isinstance(order, GeneratedResponse):
            assert 200 <= order.status < 500 or order.status == 503, order.status
            assert order.status != 200 or request["uri"].startswith("/.well-known/")
            self._check_secrets_are_kept(result, "")
        else:
            self._check_sent_on(order, result, request)

    def check_broken(self, event: Any) -> None:  # noqa: ANN401  anything
        """What nobody sends is answered, too; or CloudFront would not act on what is passed through of it."""
        result = self._answered(event)
        if "status" in result:
            assert isinstance(parse_result(result, "GET", {}), GeneratedResponse)
            self._check_secrets_are_kept(result, "")
            return
        request = event["Records"][0]["cf"]["request"]
        with contextlib.suppress(MalformedResultError):
            order = parse_result(result, request["method"], {})
            assert isinstance(order, OriginRequest)
            assert urlsplit(order.address).hostname in HOSTS.values()
        assert result["origin"]["custom"]["domainName"] in HOSTS.values()
        self._check_secrets_are_kept(result, result["origin"]["custom"]["domainName"])

    def _answered(self, event: Any) -> dict[str, Any]:  # noqa: ANN401  anything
        self.log.clear()
        before = json.dumps(event)
        result = self.handle(event, None)
        assert isinstance(result, dict)
        assert json.dumps(event) == before, "the event was changed"
        is_refusal = "status" in result and result["status"] != "200"
        assert len(self.log) == is_refusal, self.log
        return result

    def _check_sent_on(self, order: OriginRequest, result: dict[str, Any], request: dict[str, Any]) -> None:
        name = request["uri"].split("/")[1]
        # SECURITY: never an origin but the key's, and with no other key.
        assert order.address == f"https://{HOSTS[name]}:443"
        assert self.good[name] in json.dumps(request), "admitted without a token of this key"
        assert result["origin"]["custom"]["customHeaders"] == {}
        assert result.get("body") == ({**request["body"], "data": ""} if "body" in request else None)
        if name == "generic" and request["method"] == "POST" and "body" in request:
            content = base64.b64decode(request["body"]["data"])
            assert "_method" not in cgi.fields(request["headers"]["content-type"][0]["value"], content)
        self._check_variables(name, cgi.variables(result["headers"]))
        self._check_secrets_are_kept(result, HOSTS[name])

    def _check_variables(self, name: str, seen: Mapping[str, str]) -> None:
        """A server that folds and joins headers finds the key and nothing beside it, no token and no other method."""
        prefix = PROVIDERS[name].prefix if name not in OWN else ""
        assert seen[HEADERS[name]] == prefix + KEYS[name]
        carried = {"HTTP_" + one.upper().replace("-", "_") for one in TOKEN_HEADERS} - {HEADERS[name]}
        assert not carried & seen.keys()
        assert not {"HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_X_HTTP_METHOD", "HTTP_X_METHOD_OVERRIDE"} & seen.keys()
        assert not {"HTTP_X_FORWARDED_HOST", "HTTP_X_REAL_IP", "HTTP_PROXY"} & seen.keys()
        assert seen.get("HTTP_CONTENT_LENGTH", "1").isdecimal(), "the body is framed once"

    def _check_secrets_are_kept(self, result: dict[str, Any], host: str) -> None:
        """No provider key but the one that is sent on, once; and of what is sent on or refused no token, but as sent."""
        shown, logged = json.dumps(result), "\n".join(self.log)
        for name, value in KEYS.items():
            assert shown.count(value) == (HOSTS[name] == host), f"the key of {name}"
            assert value not in logged
        assert edge_events.DISTRIBUTIONS_OWN not in shown + logged
        for token in self.good.values():
            assert token not in logged
        if host:
            sent = json.dumps({name: result["headers"].get(name) for name in TOKEN_HEADERS})
            assert not any(token in sent for token in self.good.values()), "a token was sent on"


@contextlib.contextmanager
def staged() -> Iterator[Stage]:
    """Make the parts in a directory that is thrown away."""
    with tempfile.TemporaryDirectory() as name, parts_in(Path(name)) as parts:
        yield Stage(parts)
