from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

import edge
from chalicelib.errors import NotConfigured
from tests.edge_function import REQUEST_ID, Door, event, refusal, values
from tests.parts import BROKER, EDGE, NOW, SUB, Parts, claims_of, grant, parts_in

METADATA = f"{EDGE}/.well-known/oauth-protected-resource"


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        yield made


@pytest.fixture
def door(parts: Parts) -> Door:
    return Door(parts)


# what goes on


def test_the_event_itself_is_left_as_it_was(parts: Parts, door: Door) -> None:
    asked = event(("Authorization", f"Bearer {parts.token()}"), ("anthropic-beta", "a, oauth-2025-04-20"))
    before = copy.deepcopy(asked)
    door.handle(asked, None)
    assert asked == before


def test_where_a_call_goes_is_the_key_s_and_never_the_request_s(parts: Parts, door: Door) -> None:
    parts.set_key("openai", "sk-other", origin="http://localhost:8123")
    result = door.send(
        ("Authorization", f"Bearer {parts.token()}"), ("X-Forwarded-Host", "evil.example"), ("Host", "evil.example")
    )
    custom = result["origin"]["custom"]
    assert (custom["protocol"], custom["domainName"], custom["port"], custom["path"]) == ("http", "localhost", 8123, "")
    assert (custom["customHeaders"], values(result, "host")) == ({}, ["localhost:8123"])
    assert values(result, "authorization") == ["Bearer sk-other"]


@pytest.mark.parametrize("query", ["", "a=1&a=2", "key=AIza%20x&b", "%2e%2e/..;?x=//", "q=%C3%A9"])
def test_the_query_is_untouched(parts: Parts, door: Door, query: str) -> None:
    asked = event(("Authorization", f"Bearer {parts.token()}"), query=query)
    assert door.handle(asked, None)["querystring"] == query


def test_a_body_that_cloudfront_shows_is_untouched(parts: Parts, door: Door) -> None:
    asked = event(("Authorization", f"Bearer {parts.token()}"))
    body = {"action": "read-only", "data": "e30=", "encoding": "base64", "inputTruncated": False}
    asked["Records"][0]["cf"]["request"]["body"] = body
    assert door.handle(asked, None)["body"] == body


@pytest.mark.parametrize(("network", "status"), [("203.0.113.0/24", None), ("10.0.0.0/8", "403")])
def test_a_caller_s_address_is_cloudfront_s_finding_and_no_header_s(
    parts: Parts, door: Door, network: str, status: str | None
) -> None:
    parts.apply(grant(source_ips=f"[{network}]"))
    claimed = (
        ("X-Forwarded-For", "10.0.0.1"),
        ("True-Client-IP", "10.0.0.1"),
        ("CloudFront-Viewer-Address", "10.0.0.1:1"),
    )
    assert door.send(("x-api-key", parts.token()), *claimed).get("status") == status


# what does not


def test_without_a_valid_token_nobody_learns_which_keys_there_are(parts: Parts, door: Door) -> None:
    token = parts.token()
    for headers in ((), (("x-api-key", "made-up"),), (("x-api-key", token),)):
        answers = [door.send(*headers, uri=f"/{key}/v1/messages") for key in ("anthropic", "nothing")]
        assert answers[0] == answers[1]
        assert refusal(answers[0]) == ("401", "invalid_token")


def test_a_token_for_another_key_says_so_and_nothing_of_the_other(parts: Parts, door: Door) -> None:
    token = parts.token()
    for uri in ("/anthropic/v1/messages", "/v1/chat/completions"):  # another key; no key at all in the base URL
        result = door.send(("x-api-key", token), uri=uri)
        assert refusal(result) == ("401", "invalid_token")
        assert "for another key" in result["body"]
        assert "anthropic" not in result["body"]


def test_a_path_without_a_key_is_a_404_that_says_what_a_path_is(door: Door) -> None:
    result = door.send(uri="/openai")
    assert refusal(result) == ("404", "not_found")
    assert "/<key>/<the provider's own path>" in json.loads(result["body"])["error"]["message"]


def test_the_edge_says_where_its_tokens_come_from(door: Door) -> None:
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
def test_the_edge_s_own_page_is_for_get_only(door: Door, method: str) -> None:
    result = door.send(uri="/.well-known/oauth-protected-resource", method=method)
    assert refusal(result) == ("405", "method_not_allowed")
    assert values(result, "allow") == ["GET"]


@pytest.mark.parametrize("uri", ["/.well-known/oauth-protected-resource/openai", "/.well-known/x", "/.well-known/"])
def test_there_is_no_other_page_of_the_edge_s_own(parts: Parts, door: Door, uri: str) -> None:
    assert refusal(door.send(("x-api-key", parts.token()), uri=uri, method="GET")) == ("404", "not_found")
    assert door.line["reason"] == "no_page"


def test_an_edge_that_does_not_know_its_url_takes_none_from_the_request(parts: Parts) -> None:
    ports = parts.edge_ports([])._replace(edge=dataclasses.replace(parts.edge_parts(), url=""))
    handle = edge.make_handler(lambda: ports)
    asked = event(("Host", "evil.example"), uri="/.well-known/oauth-protected-resource", method="GET")
    assert refusal(handle(asked, None)) == ("404", "not_found")
    assert "resource_metadata" not in json.dumps(handle(event(), None))


def test_a_refusal_is_one_body_that_every_sdk_shows(door: Door) -> None:
    result = door.send()
    text = "no token: send a Keybroker token as the API key"
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


def test_a_used_up_quota_says_when_it_opens(parts: Parts, door: Door) -> None:
    parts.apply(grant(quota="{tokens: 9/hour, calls: 1/minute}"))
    token = parts.token()
    door.send(("x-api-key", token))
    result = door.send(("x-api-key", token))
    assert refusal(result) == ("429", "quota_exceeded")
    assert (values(result, "retry-after"), values(result, "x-should-retry")) == (["60"], [])


def test_a_refusal_is_one_log_line_that_says_who_and_never_shows_the_token(parts: Parts, door: Door) -> None:
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


def test_before_verification_the_log_says_nothing_of_what_was_sent(door: Door) -> None:
    door.send(("Authorization", "Bearer made-up"), uri="/guess/v1/x")
    assert door.line == {"door": "edge", "reason": "not_three_segments", "status": 401, "request_id": REQUEST_ID}


def test_an_admitted_call_is_no_log_line(parts: Parts, door: Door) -> None:
    assert "origin" in door.send(("x-api-key", parts.token()))
    assert door.log == []


def test_when_the_ports_cannot_be_made_every_call_is_a_503_and_the_next_one_tries_again(parts: Parts) -> None:
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


def test_this_version_refuses_every_call_on_aws() -> None:
    result = edge.handler(event(), None)
    assert refusal(result) == ("503", "temporarily_unavailable")
    assert values(result, "retry-after") == ["1"]


def test_a_fault_of_ours_is_a_500_and_a_log_line_without_its_text(parts: Parts) -> None:
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


def test_a_token_that_expires_says_so(parts: Parts) -> None:
    log: list[str] = []
    handle = edge.make_handler(lambda: parts.edge_ports(log, NOW + 931))
    result = handle(event(("x-api-key", parts.token())), None)
    assert refusal(result) == ("401", "invalid_token")
    assert "expired" in result["body"]
