from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

import edge
from chalicelib.errors import NotConfigured
from tests.edge_function import REQUEST_ID, Door, event, refusal, values
from tests.parts import BROKER, EDGE, NOW, SUB, Parts, claims_of, grant

TOKEN_LIKE = "eyJ-of-someone"
METADATA = f"{EDGE}/.well-known/oauth-protected-resource"


# what goes on


def test_event_is_not_changed(parts: Parts, door: Door) -> None:
    """The handler returns a new request and leaves CloudFront's event alone."""
    asked = event(("Authorization", f"Bearer {parts.token()}"), ("anthropic-beta", "a, oauth-2025-04-20"))
    before = copy.deepcopy(asked)
    door.handle(asked, None)
    assert asked == before


def test_destination_is_the_keys(parts: Parts, door: Door) -> None:
    """A call goes to the key's origin, whatever hosts its headers name."""
    parts.set_key("openai", "sk-other", origin="http://localhost:8123")
    result = door.send(
        ("Authorization", f"Bearer {parts.token()}"), ("X-Forwarded-Host", "evil.example"), ("Host", "evil.example")
    )
    custom = result["origin"]["custom"]
    assert (custom["protocol"], custom["domainName"], custom["port"], custom["path"]) == ("http", "localhost", 8123, "")
    assert (custom["customHeaders"], values(result, "host")) == ({}, ["localhost:8123"])
    assert values(result, "authorization") == ["Bearer sk-other"]


@pytest.mark.parametrize("query", ["", "a=1&a=2", "key=AIza%20x&b", "%2e%2e/..;?x=//", "q=%C3%A9"])
def test_query_is_untouched(parts: Parts, door: Door, query: str) -> None:
    """A query without a token goes on byte for byte."""
    asked = event(("Authorization", f"Bearer {parts.token()}"), query=query)
    assert door.handle(asked, None)["querystring"] == query


@pytest.mark.parametrize("is_cut", [False, True])
def test_body_is_not_returned(parts: Parts, door: Door, is_cut: bool) -> None:  # noqa: FBT001  a parameter of the test
    """What CloudFront showed of a body is not returned, and only read: CloudFront sends on the whole of it."""
    asked = event(("Authorization", f"Bearer {parts.token()}"))
    body = {"action": "read-only", "data": "e30=", "encoding": "base64", "inputTruncated": is_cut}
    asked["Records"][0]["cf"]["request"]["body"] = body
    assert door.handle(asked, None)["body"] == {**body, "data": ""}


def test_no_body_stays_none(parts: Parts, door: Door) -> None:
    """A call without a body gets none."""
    assert "body" not in door.send(("Authorization", f"Bearer {parts.token()}"))


def test_timeouts_are_the_distributions(parts: Parts, door: Door) -> None:
    """A provider may be silent as long as the distribution's own origin says, which knows a raised quota."""
    asked = event(("Authorization", f"Bearer {parts.token()}"))
    asked["Records"][0]["cf"]["request"]["origin"]["custom"] |= {"readTimeout": 300, "keepaliveTimeout": 60}
    custom = door.handle(asked, None)["origin"]["custom"]
    assert (custom["readTimeout"], custom["keepaliveTimeout"]) == (300, 60)


_ORIGINS = [{}, {"s3": {}}, {"custom": {"readTimeout": 120}}, {"custom": None}]
_MALFORMED: list[Callable[[dict[str, Any], str], object]] = [
    lambda request, name: request.pop(name),
    lambda request, name: request.update({name: None}),
    lambda request, name: request.update({name: [TOKEN_LIKE]}),
]


@pytest.mark.parametrize("name", ["clientIp", "headers", "method", "origin", "querystring", "uri"])
@pytest.mark.parametrize("spoil", _MALFORMED)
def test_a_malformed_event_is_a_503(
    parts: Parts, door: Door, name: str, spoil: Callable[[dict[str, Any], str], object]
) -> None:
    """What is no event of CloudFront's is a 503, is not counted, and the log has the kind of fault and nothing of it."""
    asked = event(("Authorization", f"Bearer {parts.token()}"))
    spoil(asked["Records"][0]["cf"]["request"], name)
    assert refusal(door.handle(asked, None)) == ("503", "temporarily_unavailable")
    assert (door.line["reason"], door.line["request_id"]) == ("event_malformed", REQUEST_ID)
    assert door.line["cause"] in ("KeyError", "TypeError", "AttributeError")
    assert parts.counted() == {}
    assert TOKEN_LIKE not in door.log[0]


@pytest.mark.parametrize(
    "asked", [{}, {"Records": []}, {"Records": [{"cf": None}]}, {"Records": [{"cf": {}}]}, [], None]
)
def test_what_is_no_event_is_a_503(door: Door, asked: Any) -> None:  # noqa: ANN401  anything
    assert refusal(door.handle(asked, None)) == ("503", "temporarily_unavailable")


@pytest.mark.parametrize(
    "one", [{"key": "X-One"}, {"key": "X-One", "value": 7}, {"value": None}, {"key": 7, "value": "a"}, 7]
)
def test_a_malformed_header_counts_nothing(parts: Parts, door: Door, one: object) -> None:
    """A header that is not in CloudFront's form is found before the call is counted."""
    asked = event(("Authorization", f"Bearer {parts.token()}"))
    asked["Records"][0]["cf"]["request"]["headers"]["x-one"] = [one]
    assert refusal(door.handle(asked, None)) == ("503", "temporarily_unavailable")
    assert door.line["reason"] == "event_malformed"
    assert parts.counted() == {}


@pytest.mark.parametrize("origin", _ORIGINS)
def test_an_event_without_timeouts_is_not_counted(parts: Parts, door: Door, origin: dict[str, Any]) -> None:
    asked = event(("Authorization", f"Bearer {parts.token()}"))
    asked["Records"][0]["cf"]["request"]["origin"] = origin
    assert refusal(door.handle(asked, None)) == ("503", "temporarily_unavailable")
    assert parts.counted() == {}


@pytest.mark.parametrize(("network", "status"), [("203.0.113.0/24", None), ("10.0.0.0/8", "403")])
def test_address_comes_from_cloudfront(parts: Parts, door: Door, network: str, status: str | None) -> None:
    """A caller's address is the one that CloudFront saw; no header changes it."""
    parts.apply(grant(source_ips=f"[{network}]"))
    claimed = (
        ("X-Forwarded-For", "10.0.0.1"),
        ("True-Client-IP", "10.0.0.1"),
        ("CloudFront-Viewer-Address", "10.0.0.1:1"),
    )
    assert door.send(("x-api-key", parts.token()), *claimed).get("status") == status


# what does not


def test_keys_are_not_revealed(parts: Parts, door: Door) -> None:
    """Without a valid token, a key that exists and one that does not are answered alike."""
    token = parts.token()
    for headers in ((), (("x-api-key", "made-up"),), (("x-api-key", token),)):
        answers = [door.send(*headers, uri=f"/{key}/v1/messages") for key in ("anthropic", "nothing")]
        assert answers[0] == answers[1]
        assert refusal(answers[0]) == ("401", "invalid_token")


def test_token_for_another_key(parts: Parts, door: Door) -> None:
    """A token for another key is told so, and nothing about the key of the path."""
    token = parts.token()
    for uri in ("/anthropic/v1/messages", "/v1/chat/completions"):  # another key; no key at all in the base URL
        result = door.send(("x-api-key", token), uri=uri)
        assert refusal(result) == ("401", "invalid_token")
        assert "for another key" in result["body"]
        assert "anthropic" not in result["body"]


def test_path_without_a_key(door: Door) -> None:
    """A path without a key is a 404 that explains what a path is."""
    result = door.send(uri="/openai")
    assert refusal(result) == ("404", "not_found")
    assert "/<key>/<the provider's own path>" in json.loads(result["body"])["error"]["message"]


def test_resource_metadata(door: Door) -> None:
    """The protected resource metadata (RFC 9728) names the broker, and is not logged."""
    result = door.send(("Host", "evil.example"), uri="/.well-known/oauth-protected-resource", method="GET")
    assert (result["status"], values(result, "content-type")) == ("200", ["application/json"])
    assert json.loads(result["body"]) == {
        "resource": EDGE,
        "authorization_servers": [BROKER],
        "bearer_methods_supported": ["header"],
        "resource_name": "Keybroker",
    }
    assert door.log == []


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "DELETE"])
def test_metadata_is_for_get_only(door: Door, method: str) -> None:
    """Any method but GET of the metadata is a 405 with Allow."""
    result = door.send(uri="/.well-known/oauth-protected-resource", method=method)
    assert refusal(result) == ("405", "method_not_allowed")
    assert values(result, "allow") == ["GET"]


def test_a_preflight_is_a_call(door: Door) -> None:
    """A browser's preflight has no token and is refused like any call, so that the browser sends nothing after it."""
    asked = (("Origin", "https://page.example"), ("Access-Control-Request-Method", "POST"))
    result = door.send(*asked, method="OPTIONS")
    assert refusal(result) == ("401", "invalid_token")
    assert not [name for name in result["headers"] if name.startswith("access-control-")]


@pytest.mark.parametrize("uri", ["/.well-known/oauth-protected-resource/openai", "/.well-known/x", "/.well-known/"])
def test_no_other_page(parts: Parts, door: Door, uri: str) -> None:
    """Nothing else below /.well-known/ is served."""
    assert refusal(door.send(("x-api-key", parts.token()), uri=uri, method="GET")) == ("404", "not_found")
    assert door.line["reason"] == "no_page"


def test_url_never_comes_from_the_request(parts: Parts) -> None:
    """An edge that does not know its URL has no metadata; it takes no URL from a Host header."""
    ports = parts.edge_ports([])._replace(edge=dataclasses.replace(parts.edge_parts(), url=""))
    handle = edge.make_handler(lambda: ports)
    asked = event(("Host", "evil.example"), uri="/.well-known/oauth-protected-resource", method="GET")
    assert refusal(handle(asked, None)) == ("404", "not_found")
    assert "resource_metadata" not in json.dumps(handle(event(), None))


def test_refusal_body_and_headers(door: Door) -> None:
    """A refusal is one body that every SDK shows, with exactly these headers."""
    result = door.send()
    text = (
        "no token: send a Keybroker token as the API key; if a command was to get it, its own error says why it did not"
    )
    assert json.loads(result["body"]) == {
        "type": "error",
        "error": {
            "message": f"{text} (request {REQUEST_ID})",
            "type": "authentication_error",
            "param": None,
            "code": "invalid_token",
            "status": "UNAUTHENTICATED",
        },
        "request_id": REQUEST_ID,
    }
    assert {name: one[0]["value"] for name, one in result["headers"].items()} == {
        "content-type": "application/json",
        "cache-control": "no-store",
        "x-request-id": REQUEST_ID,
        "request-id": REQUEST_ID,
        "www-authenticate": f'Bearer realm="keybroker", error="invalid_token", error_description="{text}", '
        f'resource_metadata="{METADATA}"',
        "x-should-retry": "false",
    }
    assert (result["status"], result["bodyEncoding"]) == ("401", "text")


def test_used_up_quota_has_retry_after(parts: Parts, door: Door) -> None:
    """A call beyond its quota is a 429 that says when the window ends."""
    parts.apply(grant(quota="{tokens: 9/hour, calls: 1/minute}"))
    token = parts.token()
    door.send(("x-api-key", token))
    result = door.send(("x-api-key", token))
    assert refusal(result) == ("429", "quota_exceeded")
    assert (values(result, "retry-after"), values(result, "x-should-retry")) == (["60"], [])


def test_refusal_log_line(parts: Parts, door: Door) -> None:
    """A refusal is one log line that names who was refused, and never the token."""
    token = parts.token()
    parts.revoke("principal", SUB)
    result = door.send(("Authorization", f"Bearer {token}"))
    assert refusal(result) == ("403", "revoked")
    assert door.line == {
        "door": "edge",
        "reason": "revoked_principal",
        "status": 403,
        "request_id": REQUEST_ID,
        "key": "openai",
        "grant": "app",
        "principal": SUB,
        "jti": claims_of(token)["jti"],
    }
    assert token not in door.log[0] + json.dumps(result)


def test_log_before_verification(door: Door) -> None:
    """Until a token is verified, the log says nothing of what was sent."""
    door.send(("Authorization", "Bearer made-up"), uri="/guess/v1/x")
    assert door.line == {"door": "edge", "reason": "not_three_segments", "status": 401, "request_id": REQUEST_ID}


def test_admitted_call_is_not_logged(parts: Parts, door: Door) -> None:
    """An admitted call writes no log line."""
    assert "origin" in door.send(("x-api-key", parts.token()))
    assert door.log == []


def test_ports_are_retried(parts: Parts) -> None:
    """A call whose ports cannot be made is a 503, and the next one tries again."""
    log: list[str] = []
    tries = [NotConfigured(), None]

    def ports() -> edge.Ports:
        fault = tries.pop(0)
        if fault:
            raise fault
        return parts.edge_ports(log)

    handle = edge.make_handler(ports)
    asked = event(("x-api-key", parts.token()))
    assert refusal(handle(asked, None)) == ("503", "temporarily_unavailable")
    assert "origin" in handle(asked, None)
    assert tries == []


def test_unconfigured_function_refuses() -> None:
    """A function without its configuration refuses every call with 503."""
    result = edge.handler(event(), None)
    assert refusal(result) == ("503", "temporarily_unavailable")
    assert (values(result, "retry-after"), values(result, "x-should-retry")) == ([], ["false"])


def test_internal_fault(parts: Parts) -> None:
    """A fault is a 500, and a log line without the fault's text."""
    log: list[str] = []

    def clock() -> NoReturn:
        raise RuntimeError("secret text")

    ports = parts.edge_ports(log)
    handle = edge.make_handler(lambda: edge.Ports(ports.edge, clock, log.append))
    result = handle(event(("x-api-key", parts.token())), None)
    assert refusal(result) == ("500", "server_error")
    assert values(result, "x-request-id") == [REQUEST_ID]
    assert json.loads(log[0])["reason"] == "fault_RuntimeError"
    assert "secret text" not in log[0] + json.dumps(result)


def test_expired_token_says_so(parts: Parts) -> None:
    """A token that has expired is told so."""
    log: list[str] = []
    handle = edge.make_handler(lambda: parts.edge_ports(log, NOW + 931))
    result = handle(event(("x-api-key", parts.token())), None)
    assert refusal(result) == ("401", "invalid_token")
    assert "expired" in result["body"]
