from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

import edge
from chalicelib.errors import Unavailable
from tests.parts import KEY_VALUE, NOW, SUB, Parts, claims_of, grant, parts_in

EVENTS = Path(__file__).resolve().parent / "events"
TOKEN_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
REQUEST_ID = "request-1"
Result = dict[str, Any]


class Door:
    """The edge function over real parts."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.log: list[str] = []
        self.handle: Callable[[Mapping[str, Any], object], Result] = edge.make_handler(self._ports)

    def _ports(self) -> edge.Ports:
        return self.parts.edge_ports(self.log)

    def send(self, *headers: tuple[str, str], uri: str = "/openai/v1/chat/completions", method: str = "POST") -> Result:
        """Send a call with these headers."""
        return self.handle(event(*headers, uri=uri, method=method), None)

    @property
    def line(self) -> dict[str, Any]:
        """The only line of the log."""
        (one,) = self.log
        found: dict[str, Any] = json.loads(one)
        return found


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        yield made


@pytest.fixture
def door(parts: Parts) -> Door:
    return Door(parts)


def event(
    *headers: tuple[str, str], uri: str = "/openai/v1/chat/completions", query: str = "", method: str = "POST"
) -> dict[str, Any]:
    grouped: dict[str, list[dict[str, str]]] = {"host": [{"key": "Host", "value": "origin.invalid"}]}
    for name, value in headers:
        grouped.setdefault(name.lower(), []).append({"key": name, "value": value})
    request = {
        "clientIp": "203.0.113.1",
        "headers": grouped,
        "method": method,
        "origin": {"custom": {"domainName": "origin.invalid", "customHeaders": {}}},
        "querystring": query,
        "uri": uri,
    }
    return {"Records": [{"cf": {"config": {"requestId": REQUEST_ID}, "request": request}}]}


def refusal(result: Result) -> tuple[str, str]:
    """Status and code."""
    return result["status"], json.loads(result["body"])["error"]["code"]


def values(result: Result, name: str) -> list[str]:
    return [one["value"] for one in result["headers"].get(name, ())]


def filled(found: Any, words: Mapping[str, str]) -> Any:  # noqa: ANN401  JSON
    text = json.dumps(found)
    for word, value in words.items():
        text = text.replace(word, value)
    return json.loads(text)


# what goes on


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_a_golden_call_goes_on_exactly_so(parts: Parts, door: Door, name: str) -> None:
    scope = '["POST:/v1/chat/completions", "POST:/v1/messages"]'
    parts.apply(grant(key=name, scope=scope))
    golden = json.loads((EVENTS / f"origin_request_{name}.json").read_text())
    words = {"TOKEN": parts.exchange(audience=name).access_token, "PROVIDER-KEY": parts.value(name)}
    result = door.handle(filled(golden["in"], words), None)
    assert result == filled(golden["out"], words)
    others = [one for one in result["headers"] if one not in TOKEN_HEADERS]
    assert others == [one for one in golden["in"]["Records"][0]["cf"]["request"]["headers"] if one in others]
    assert door.log == []


def test_the_event_itself_is_left_as_it_was(parts: Parts, door: Door) -> None:
    asked = event(("Authorization", f"Bearer {parts.token()}"), ("anthropic-beta", "a, oauth-2025-04-20"))
    before = copy.deepcopy(asked)
    door.handle(asked, None)
    assert asked == before


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("Authorization", "Bearer "),
        ("authorization", "bearer "),
        ("AUTHORIZATION", "BEARER "),
        ("Authorization", "Bearer   "),
        ("Authorization", ""),
        ("X-Api-Key", ""),
        ("x-goog-api-key", ""),
        ("Api-Key", ""),
    ],
)
def test_a_token_arrives_where_sdks_put_their_key(parts: Parts, door: Door, name: str, prefix: str) -> None:
    result = door.send((name, f"{prefix}{parts.token()}"))
    assert values(result, "authorization") == [f"Bearer {KEY_VALUE}"]
    assert not {"x-api-key", "x-goog-api-key", "api-key"} & result["headers"].keys()


def test_the_same_token_may_be_sent_in_all_four_and_all_are_taken_off(parts: Parts, door: Door) -> None:
    token = parts.token()
    result = door.send(
        ("Authorization", f"Bearer {token}"),
        ("x-api-key", token),
        ("x-goog-api-key", token),
        ("api-key", token),
        ("x-api-key", token),
    )
    assert values(result, "authorization") == [f"Bearer {KEY_VALUE}"]
    assert token not in json.dumps(result)


def test_an_empty_token_header_beside_a_token_does_not_count(parts: Parts, door: Door) -> None:
    result = door.send(("Authorization", "Bearer "), ("x-api-key", parts.token()), ("api-key", ""))
    assert values(result, "authorization") == [f"Bearer {KEY_VALUE}"]
    assert "api-key" not in result["headers"]


def test_two_different_tokens_are_a_400(parts: Parts, door: Door) -> None:
    for headers in (
        (("Authorization", f"Bearer {parts.token()}"), ("x-api-key", parts.token())),
        (("x-api-key", parts.token()), ("x-api-key", parts.token())),
        (("Authorization", f"Bearer {parts.token()}"), ("Authorization", "Basic dXNlcjpwYXNz")),
    ):
        assert refusal(door.send(*headers)) == ("400", "invalid_request")
    assert {json.loads(line)["reason"] for line in door.log} == {"two_tokens"}


def test_where_a_call_goes_is_the_key_s_and_never_the_request_s(parts: Parts, door: Door) -> None:
    parts.set_key("openai", "sk-other", origin="http://localhost:8123")
    result = door.send(
        ("Authorization", f"Bearer {parts.token()}"), ("X-Forwarded-Host", "evil.example"), ("Host", "evil.example")
    )
    custom = result["origin"]["custom"]
    assert (custom["protocol"], custom["domainName"], custom["port"], custom["path"]) == ("http", "localhost", 8123, "")
    assert (custom["customHeaders"], values(result, "host")) == ({}, ["localhost:8123"])
    assert values(result, "authorization") == ["Bearer sk-other"]


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Anything",
        "Forwarded",
        "X-Real-IP",
        "True-Client-IP",
        "CloudFront-Viewer-Address",
        "CloudFront-Is-Mobile-Viewer",
        "X-Amzn-Trace-Id",
        "Proxy-Authorization",
    ],
)
def test_what_claims_an_address_or_a_proxy_does_not_go_on(parts: Parts, door: Door, name: str) -> None:
    result = door.send(("Authorization", f"Bearer {parts.token()}"), (name, "10.0.0.1"))
    assert "origin" in result
    assert name.lower() not in result["headers"]


def test_every_other_header_goes_on_with_its_spelling_its_repetition_and_its_order(parts: Parts, door: Door) -> None:
    others = [
        ("X-Stainless-Lang", "python"),
        ("Accept", "a/b"),
        ("accept", "c/d"),
        ("Cookie", "a=1"),
        ("Accept", ""),
        ("OpenAI-Organization", "org-1"),
        ("x-authorization", "kept"),
        ("X-Api-Key-Hint", "kept"),
        ("Origin", "null"),
    ]
    result = door.send(*others, ("Authorization", f"Bearer {parts.token()}"))
    sent = event(*others)["Records"][0]["cf"]["request"]["headers"]
    assert {name: result["headers"][name] for name in sent if name != "host"} == {
        name: found for name, found in sent.items() if name != "host"
    }
    assert [name for name in result["headers"] if name in sent] == list(sent)
    assert result["headers"].keys() - sent.keys() == {"authorization"}


@pytest.mark.parametrize("query", ["", "a=1&a=2", "key=AIza%20x&b", "%2e%2e/..;?x=//", "q=%C3%A9"])
def test_the_query_is_untouched(parts: Parts, door: Door, query: str) -> None:
    asked = event(("Authorization", f"Bearer {parts.token()}"), query=query)
    assert door.handle(asked, None)["querystring"] == query


def test_a_body_that_cloudfront_shows_is_untouched(parts: Parts, door: Door) -> None:
    asked = event(("Authorization", f"Bearer {parts.token()}"))
    body = {"action": "read-only", "data": "e30=", "encoding": "base64", "inputTruncated": False}
    asked["Records"][0]["cf"]["request"]["body"] = body
    assert door.handle(asked, None)["body"] == body


OAUTH = "oauth-2025-04-20"


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        ([OAUTH], []),
        ([f" {OAUTH} "], []),
        ([f"{OAUTH},a-1,b-2"], ["a-1,b-2"]),
        ([f"{OAUTH}, a-1"], ["a-1"]),
        ([f"a-1,{OAUTH},b-2"], ["a-1,b-2"]),
        ([f"a-1, {OAUTH}, b-2"], ["a-1, b-2"]),
        ([f"a-1 , b-2 ,{OAUTH}"], ["a-1 , b-2"]),
        ([f"a-1,{OAUTH}"], ["a-1"]),
        ([f"{OAUTH},{OAUTH}"], []),
        ([f"{OAUTH},"], []),
        (["a-1", OAUTH, f"b-2,{OAUTH}"], ["a-1", "b-2"]),
        ([" a-1 ,, b-2"], [" a-1 ,, b-2"]),
        ([""], [""]),
        ([f"{OAUTH}-x, x-{OAUTH}"], [f"{OAUTH}-x, x-{OAUTH}"]),
        ([], []),
    ],
)
def test_anthropic_beta_loses_its_oauth_flag_and_nothing_else(
    parts: Parts, door: Door, sent: list[str], left: list[str]
) -> None:
    betas = [("anthropic-beta", value) for value in sent]
    result = door.send(("Authorization", f"Bearer {parts.token()}"), *betas)
    assert values(result, "anthropic-beta") == left
    assert ("anthropic-beta" in result["headers"]) == bool(left)


# what does not


@pytest.mark.parametrize(
    "uri",
    [
        "/openai/../x",
        "/openai/%2e%2e/x",
        "/openai/v1%2fx",
        "/openai/v1%3ax",
        "/openai//v1",
        "/openai/v1;x",
        "/openai/v1\x00",
        "/openai/v1%00",
        "/openai/é",
        "/openai/v1\\x",
    ],
)
def test_a_path_with_more_than_one_reading_is_refused(parts: Parts, door: Door, uri: str) -> None:
    result = door.send(("Authorization", f"Bearer {parts.token()}"), uri=uri)
    assert refusal(result) == ("400", "invalid_request")
    assert door.line["reason"] == "path_ambiguous"


def test_without_a_valid_token_nobody_learns_which_keys_there_are(parts: Parts, door: Door) -> None:
    token = parts.token()
    for headers in ((), (("x-api-key", "made-up"),), (("x-api-key", token),)):
        answers = [door.send(*headers, uri=f"/{key}/v1/messages") for key in ("anthropic", "nothing")]
        assert answers[0] == answers[1]
        assert refusal(answers[0]) == ("401", "invalid_token")


def test_a_path_without_a_key_is_a_404(door: Door) -> None:
    assert refusal(door.send(uri="/openai")) == ("404", "not_found")


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
        "www-authenticate": f'Bearer realm="keybroker", error="invalid_token", error_description="{text}"',
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
    tries = [Unavailable("not_configured"), None]

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
