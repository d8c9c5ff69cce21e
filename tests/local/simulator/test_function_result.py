import copy
from collections.abc import Callable
from typing import Any

import pytest

from local.simulator.function_result import (
    GeneratedResponse,
    MalformedResultError,
    OriginRequest,
    parse_result,
    protected_headers,
)

Change = Callable[[dict[str, Any]], object]
SENT: dict[str, Any] = {
    "clientIp": "127.0.0.1",
    "method": "POST",
    "uri": "/v1/a%2Fb//c",
    "querystring": "x=%20&x=1&y",
    "headers": {
        "host": [{"key": "Host", "value": "api.example.com"}],
        "content-length": [{"key": "Content-Length", "value": "2"}],
        "accept-encoding": [{"key": "Accept-Encoding", "value": "gzip"}],
        "via": [{"key": "Via", "value": "1.1 local.simulator.cloudfront.net (CloudFront)"}],
        "x-twice": [{"key": "X-Twice", "value": "a"}, {"value": "b"}],
    },
    "origin": {
        "custom": {
            "customHeaders": {"x-origin": [{"key": "X-Origin", "value": "1"}]},
            "domainName": "api.example.com",
            "keepaliveTimeout": 5,
            "path": "/base",
            "port": 443,
            "protocol": "https",
            "readTimeout": 30,
            "sslProtocols": ["TLSv1.2"],
        }
    },
}


def parse(change: Change) -> OriginRequest | GeneratedResponse:
    """The order that follows when a function has made this change to the request that it was given."""
    request = copy.deepcopy(SENT)
    change(request)
    return parse_result(request, "POST", protected_headers(SENT["headers"]))


def test_a_request_is_sent_to_its_origin_byte_for_byte() -> None:
    order = parse(lambda _request: None)
    assert isinstance(order, OriginRequest)
    assert order.address == "https://api.example.com:443"
    assert order.target == "/base/v1/a%2Fb//c?x=%20&x=1&y"
    assert order.read_timeout == 30.0
    assert order.headers == [
        ("Host", "api.example.com"),
        ("Content-Length", "2"),
        ("Accept-Encoding", "gzip"),
        ("Via", "1.1 local.simulator.cloudfront.net (CloudFront)"),
        ("X-Twice", "a"),
        ("x-twice", "b"),
        ("X-Origin", "1"),
    ]


def header(entry: object) -> Change:
    return lambda request: request["headers"].update({"x": [entry]})


@pytest.mark.parametrize(
    ("member", "change"),
    [
        ("method", lambda r: r.update(method="GET")),
        ("uri", lambda r: r.update(uri="v1")),
        ("uri", lambda r: r.update(uri="/a?b")),
        ("uri", lambda r: r.update(uri="/a#b")),
        ("uri", lambda r: r.update(uri="/a b")),
        ("uri", lambda r: r.update(uri="/a\r\nX: 1")),
        ("uri", lambda r: r.update(uri="/a\n")),
        ("querystring", lambda r: r.update(querystring="a b")),
        ("querystring", lambda r: r.update(querystring=None)),
        ("querystring", lambda r: r.update(querystring="a#b")),
        ("origin.custom", lambda r: r.pop("origin")),
        ("origin.custom", lambda r: r.update(origin={"s3": {}})),
        ("origin.custom.port", lambda r: r["origin"]["custom"].update(port="443")),
        ("origin.custom.port", lambda r: r["origin"]["custom"].update(port=0)),
        ("origin.custom.protocol", lambda r: r["origin"]["custom"].update(protocol="ftp")),
        ("origin.custom.domainName", lambda r: r["origin"]["custom"].update(domainName="a@b")),
        ("origin.custom.domainName", lambda r: r["origin"]["custom"].update(domainName="a/b")),
        ("origin.custom.domainName", lambda r: r["origin"]["custom"].update(domainName="a\n")),
        ("origin.custom.path", lambda r: r["origin"]["custom"].update(path="base")),
        ("origin.custom.path", lambda r: r["origin"]["custom"].update(path="/base/")),
        ("origin.custom.readTimeout", lambda r: r["origin"]["custom"].update(readTimeout=121)),
        ("headers", lambda r: r.update(headers=[])),
        ("headers", lambda r: r["headers"].update({"x": "1"})),
        ("headers", lambda r: r["headers"].update({"x": [{"key": "X"}]})),
        ("headers", lambda r: r["headers"].update({"x": [{"key": "Content-Length", "value": "9"}]})),
        ("headers", lambda r: r["headers"].update({"x": [{"key": "X", "value": "a\r\nY: b"}]})),
        ("headers", lambda r: r["headers"].update({"x y": [{"value": "a"}]})),
        ("headers", lambda r: r["headers"].update({"Content-Length": [{"value": "9"}]})),
        ("headers", lambda r: r["headers"].update({"Host": [{"value": "b"}]})),
        ("headers", lambda r: r["headers"].update({"x": ({"value": "a"},)})),
        ("headers", lambda r: r["headers"].update({"": [{"value": "a"}]})),
        ("headers", lambda r: r["headers"].update({"x" * 257: [{"value": "a"}]})),
        ("headers", lambda r: r["headers"].update({"x\u212a": [{"value": "a"}]})),
        ("headers", lambda r: r["headers"].update({"xk": [{"key": "X\u212a", "value": "a"}]})),
        ("headers", lambda r: r["headers"].update({1: [{"key": "X", "value": "a"}]})),
        *(("headers", header(entry)) for entry in ("a", None, ["key", "value"], [("value", "a")])),
        *(("headers", header({"key": key, "value": "a"})) for key in (None, 1, b"x", "", ["x"])),
        *(("headers", header({"key": "X", "value": value})) for value in (None, 1, b"a", ["a"], {"a": 1}, "\ud800")),
        ("headers.host", lambda r: r["headers"].pop("host")),
        (
            "origin.custom.customHeaders",
            lambda r: r["origin"]["custom"].update(customHeaders={"host": [{"value": "b"}]}),
        ),
        ("body", lambda r: r.update(body={"action": "replace", "data": ""})),
        ("headers.host", lambda r: r["headers"]["host"].append({"value": "b"})),
    ],
)
def test_malformed_request_result(member: str, change: Change) -> None:
    """A malformed request is refused; the error names only the member."""
    with pytest.raises(MalformedResultError) as refused:
        parse(change)
    assert str(refused.value) == member


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["headers"].pop("accept-encoding"),
        lambda r: r["headers"].pop("via"),
        lambda r: r["headers"]["content-length"][0].update(value="3"),
        lambda r: r["headers"].update({"transfer-encoding": [{"value": "chunked"}]}),
        lambda r: r["headers"].update({"x-amz-cf-id": [{"value": "a"}]}),
        lambda r: r["headers"].update({"connection": [{"value": "x"}]}),
    ],
)
def test_protected_headers_cannot_change(change: Change) -> None:
    """Changing a protected header is refused, as at CloudFront."""
    with pytest.raises(MalformedResultError) as refused:
        parse(change)
    assert str(refused.value) == "headers: a read-only or disallowed one"


def test_viewers_disallowed_header_may_be_removed() -> None:
    """A viewer's disallowed header may be removed but not changed."""
    fixed = protected_headers(SENT["headers"]) | {"x-amzn-requestid": ["the viewer's"]}
    assert isinstance(parse_result(SENT, "POST", fixed), OriginRequest)
    changed = copy.deepcopy(SENT)
    changed["headers"]["x-amzn-requestid"] = [{"value": "the function's"}]
    with pytest.raises(MalformedResultError, match="headers: a read-only or disallowed one"):
        parse_result(changed, "POST", fixed)


def test_generated_response_length() -> None:
    """A generated response has the length of its decoded body."""
    headers = {"content-type": [{"key": "Content-Type", "value": "text/plain"}], "content-length": [{"value": "999"}]}
    result = {"status": "403", "statusDescription": "No", "headers": headers, "body": "aGk=", "bodyEncoding": "base64"}
    assert parse_result(result, "GET", {}) == GeneratedResponse(
        403, "No", [("Content-Type", "text/plain"), ("Content-Length", "2")], b"hi"
    )


@pytest.mark.parametrize(
    ("member", "result"),
    [
        ("result", None),
        ("result", "403"),
        ("status", {"status": 403}),
        ("status", {"status": "099"}),
        ("status", {"status": "200\n"}),
        ("statusDescription", {"status": "200", "statusDescription": "a\r\nX: b"}),
        ("headers", {"status": "200", "headers": {"x": "1"}}),
        ("headers: a read-only or disallowed one", {"status": "200", "headers": {"via": [{"value": "1"}]}}),
        ("headers: a read-only or disallowed one", {"status": "200", "headers": {"connection": [{"value": "close"}]}}),
        ("body", {"status": "200", "body": b"bytes"}),
        ("body", {"status": "200", "body": "a", "bodyEncoding": "gzip"}),
        ("body", {"status": "200", "body": "*", "bodyEncoding": "base64"}),
        ("body: larger than 1 MB", {"status": "200", "body": "a" * 1_048_577}),
    ],
)
def test_malformed_response_result(member: str, result: object) -> None:
    """A malformed response is refused; the error names only the member."""
    with pytest.raises(MalformedResultError) as refused:
        parse_result(result, "GET", {})
    assert str(refused.value) == member
