"""What CloudFront lets an origin-request function do, at the limits and just past them."""

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import pytest

from local.simulator.function_result import GeneratedResponse, MalformedResultError, OriginRequest, parse_result
from local.simulator.origin_request_event import Event
from tests.edge_door import ask, before_raw, code, head, talk
from tests.golden_events import asked, golden, kept

Change = Callable[[dict[str, Any]], object]
READ_ONLY = """
accept-encoding cdn-loop content-length if-modified-since if-none-match if-range if-unmodified-since transfer-encoding via
"""
DISALLOWED = """
connection expect keep-alive proxy-authenticate proxy-authorization proxy-connection trailer upgrade x-accel-buffering
x-accel-charset x-accel-limit-rate x-accel-redirect x-amz-cf-id x-amz-cf-anything x-amzn-auth x-amzn-cf-billing
x-amzn-cf-id x-amzn-cf-xff x-amzn-errortype x-amzn-fle-profile x-amzn-header-count x-amzn-header-order
x-amzn-lambda-integration-tag x-amzn-requestid x-cache x-edge-location x-forwarded-proto x-real-ip
"""


def after(change: Change) -> OriginRequest | GeneratedResponse:
    """What CloudFront would do once a function has sent a request on, and changed this of it."""
    event = golden("documented_with_body")
    request = copy.deepcopy(asked(event))
    change(request)
    return kept(event, request)


def refused(change: Change) -> str:
    """The member for which CloudFront would answer 502."""
    with pytest.raises(MalformedResultError) as fault:
        after(change)
    return str(fault.value)


def custom(**members: object) -> Change:
    return lambda request: request["origin"]["custom"].update(members)


def header(name: str, *values: str) -> Change:
    return lambda request: request["headers"].update({name: [{"key": name, "value": value} for value in values]})


def custom_headers(**values: str) -> Change:
    return custom(customHeaders={name: [{"key": name, "value": value}] for name, value in values.items()})


# the origin


@pytest.mark.parametrize("member", ["port", "protocol", "domainName", "path", "readTimeout", "keepaliveTimeout"])
@pytest.mark.parametrize("value", [None, True, 5.0, "5", []])
def test_origin_member_types(member: str, value: object) -> None:
    """An origin with a member of the wrong type is refused."""
    assert refused(custom(**{member: value})) == f"origin.custom.{member}"


@pytest.mark.parametrize(
    "change",
    [
        *(custom(port=port) for port in (80, 443, 1024, 65_535)),
        *(custom(readTimeout=seconds) for seconds in (1, 120)),
        *(custom(keepaliveTimeout=seconds) for seconds in (1, 60)),
        *(custom(path=path) for path in ("", "/a", "/" + "a" * 254)),
        *(custom(sslProtocols=[one]) for one in ("SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2")),
        *(custom(protocol=one) for one in ("http", "https")),
        custom_headers(**{f"x-{number}": "a" for number in range(30)}),
        custom_headers(x="a" * 1_783),
        custom_headers(**{f"x-{number}": "a" * 1_700 for number in range(6)}),
        custom_headers(**{"x" * 256: "a"}),
        lambda request: request.update(querystring="a" * (8_191 - len(request["uri"]) - 1)),
    ],
)
def test_what_is_just_within_the_limits_is_let_through(change: Change) -> None:
    assert isinstance(after(change), OriginRequest)


@pytest.mark.parametrize(
    ("member", "change"),
    [
        *(("origin.custom.port", custom(port=port)) for port in (0, 1, 79, 81, 444, 1023, 65_536, -443)),
        *(("origin.custom.readTimeout", custom(readTimeout=seconds)) for seconds in (0, 121)),
        *(("origin.custom.keepaliveTimeout", custom(keepaliveTimeout=seconds)) for seconds in (0, 61)),
        *(("origin.custom.path", custom(path=path)) for path in ("/", "/a/", "a", "/a?b", "/a b", "/" + "a" * 255)),
        *(("origin.custom.sslProtocols", custom(sslProtocols=one)) for one in (None, [], "TLSv1.2", ["TLSv1.4"], [1])),
        *(("origin.custom.protocol", custom(protocol=one)) for one in ("match-viewer", "HTTPS", "")),
        ("origin.custom", lambda request: request["origin"].update(s3=request["origin"]["custom"])),
        ("uri: too long with its query", lambda request: request.update(uri="/" + "a" * 8_191)),
        (
            "uri: too long with its query",
            lambda request: request.update(querystring="a" * (8_192 - len(request["uri"]) - 1)),
        ),
    ],
)
def test_what_is_just_past_the_limits_is_refused(member: str, change: Change) -> None:
    assert refused(change) == member


@pytest.mark.parametrize(
    "domain",
    ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1.", "0x7f.0.0.1", "10.0.0.0x1"],
)
def test_an_address_is_no_origin(domain: str) -> None:
    def change(request: dict[str, Any]) -> None:
        custom(domainName=domain)(request)
        header("host", domain)(request)

    assert refused(change) == "origin.custom.domainName"


@pytest.mark.parametrize("domain", ["::1", "[::1]", "example.org:443", "", "a" * 254, "a b", "exämple.org", "a/b"])
def test_what_is_no_domain_name_is_no_origin(domain: str) -> None:
    assert refused(custom(domainName=domain)) == "origin.custom.domainName"


@pytest.mark.parametrize("host", ["origin.example.org", "origin.example.org:443", "Origin.Example.ORG"])
def test_the_host_header_names_the_origin(host: str) -> None:
    assert isinstance(after(header("host", host)), OriginRequest)


@pytest.mark.parametrize("hosts", [["api.example.com"], ["origin.example.org:80"], ["origin.example.org."], [""], []])
def test_a_host_header_that_names_another_is_refused(hosts: list[str]) -> None:
    assert refused(header("host", *hosts)) == "headers.host"


# headers


@pytest.mark.parametrize(
    "name",
    READ_ONLY.split(),
)
def test_read_only_headers_are_protected(name: str) -> None:
    """A read-only header must not be added, changed, repeated or removed."""
    before = {name: [{"key": name, "value": "as sent"}]}
    event = golden("documented_with_body")
    del asked(event)["headers"]["via"]
    assert _refused_as_fixed(event, lambda headers: headers.update(before))
    asked(event)["headers"].update(before)
    assert isinstance(kept(event, asked(event)), OriginRequest)
    assert _refused_as_fixed(event, lambda headers: headers.pop(name))
    assert _refused_as_fixed(event, lambda headers: headers.update({name: [{"value": "another"}]}))
    assert _refused_as_fixed(event, lambda headers: headers.update({name: before[name] * 2}))


@pytest.mark.parametrize(
    "name",
    DISALLOWED.split(),
)
def test_disallowed_headers_are_refused(name: str) -> None:
    """A disallowed header must not be added to requests or responses."""
    added = {name: [{"key": name, "value": "a"}]}
    assert _refused_as_fixed(golden("documented_with_body"), lambda headers: headers.update(added))
    with pytest.raises(MalformedResultError, match=r"^headers: a read-only or disallowed one$"):
        parse_result({"status": "200", "headers": added}, "GET", {})


def _refused_as_fixed(event: Event, change: Change) -> bool:
    request = copy.deepcopy(asked(event))
    change(request["headers"])
    with pytest.raises(MalformedResultError) as fault:
        kept(event, request)
    return str(fault.value) == "headers: a read-only or disallowed one"


def test_total_header_size_is_limited() -> None:
    """Headers that are too large together are refused."""
    assert isinstance(after(header("x", "a" * 20_000)), OriginRequest)
    assert refused(header("x", "a" * 21_504)) == "headers: too large together"
    assert refused(header("x", *(["é" * 1_000] * 11))) == "headers: too large together"


MEMBER = "origin.custom.customHeaders"


@pytest.mark.parametrize(
    ("member", "change"),
    [
        (MEMBER, custom(customHeaders=None)),
        (MEMBER, custom_headers(authorization="a")),  # which is among the request's own
        (MEMBER, custom_headers(**{"x" * 257: "a"})),
        *(
            (f"{MEMBER}: one that cannot be added", custom_headers(**{name: "a"}))
            for name in ("connection", "transfer-encoding", "cookie", "cache-control", "te", "x-amz-anything", "range")
        ),
        (f"{MEMBER}: too many or too large", custom_headers(**{f"x-{number}": "a" for number in range(31)})),
        (f"{MEMBER}: too many or too large", custom_headers(x="a" * 1_784)),
        (f"{MEMBER}: too many or too large", custom_headers(**{f"x-{number}": "a" * 1_704 for number in range(6)})),
    ],
)
def test_custom_headers_past_their_limits_are_refused(member: str, change: Change) -> None:
    assert refused(change) == member


def test_generated_response_size_limit() -> None:
    """A generated response may have 1 MB, and not a byte more."""
    headers = {"x-a": [{"key": "X-A", "value": "é"}]}
    size = 1_048_576 - len("X-A: é\r\n".encode())
    result = parse_result({"status": "200", "headers": headers, "body": "a" * size}, "GET", {})
    assert isinstance(result, GeneratedResponse)
    with pytest.raises(MalformedResultError, match=r"^body: larger than 1 MB$"):
        parse_result({"status": "200", "headers": headers, "body": "a" * (size + 1)}, "GET", {})


def test_malformed_result_is_a_502(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A malformed result is a 502, and reaches no origin."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(head("HTTP/1.1 204 No Content"))

    async def run() -> tuple[str, str]:
        async with before_raw(serve, domainName="127.0.0.1") as port:
            return code(await talk(port, ask("GET /")))

    assert asyncio.run(run()) == ("502", "edge_failed")
    assert heads == []
    assert "the edge function returned a malformed result: origin.custom.domainName" in caplog.text
