import asyncio
import itertools
import json
import re
from typing import Any

import pytest
from aiohttp import web

from local.simulator.cloudfront import make_distribution, make_runner, request_ids
from local.simulator.edge_function import Handler
from local.simulator.lambda_context import LambdaContext


async def talk(handler: Handler, sent: bytes, broker: str | None = None) -> tuple[str, bytes]:
    """Send bytes to a distribution that runs `handler`: its answer's head as text, and what follows until it closes."""
    distribution = make_distribution(handler, broker=broker)
    runner = make_runner(distribution, grace=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
        writer.write(sent)
        answer = await reader.read(-1)
        writer.close()
        await writer.wait_closed()
    await runner.cleanup()
    await distribution.close()
    before, _, after = answer.partition(b"\r\n\r\n")
    return before.decode(), after


def door_error(answer: tuple[str, bytes]) -> tuple[int, str]:
    """Status and code of an error of the door itself, once its shape has been checked."""
    start, body = answer
    parsed = json.loads(body)
    headers = dict(line.split(": ", 1) for line in start.split("\r\n")[1:])
    assert parsed["type"] == "error"
    assert parsed["error"].keys() == {"message", "type", "param", "code", "status"}
    assert parsed["request_id"] == headers["x-request-id"] == headers["request-id"] != ""
    assert headers["Content-Type"] == "application/json"
    return int(start.split(" ")[1]), parsed["error"]["code"]


def head(start: str, *lines: str) -> bytes:
    return "\r\n".join((start, "Host: edge", "Connection: close", *lines, "", "")).encode()


def get(path: str = "/", *lines: str) -> bytes:
    return head(f"GET {path} HTTP/1.1", *lines)


def cf_request(event: dict[str, Any]) -> dict[str, Any]:
    request: dict[str, Any] = event["Records"][0]["cf"]["request"]
    return request


def event_of(sent: bytes) -> dict[str, Any]:
    """The event that a function gets for these bytes."""
    seen: list[dict[str, Any]] = []

    def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
        seen.append(json.loads(json.dumps(event)))
        return {"status": "200"}

    asyncio.run(talk(handler, sent))
    (event,) = seen
    return event


def refused(sent: bytes) -> tuple[int, str]:
    """The door's error for these bytes; the function must not be called."""

    def handler(_event: dict[str, Any], _context: object) -> dict[str, Any]:
        return {"status": "299"}

    return door_error(asyncio.run(talk(handler, sent)))


def test_the_event_has_the_documented_shape() -> None:
    event = event_of(get("/openai/v1/models?limit=2&q=%20a", "User-Agent: sdk/1", "X-Twice: a", "x-twice: b"))
    request_id = event["Records"][0]["cf"]["config"].pop("requestId")
    assert re.fullmatch(r"[0-9a-f]{32}", request_id)
    assert event == {
        "Records": [
            {
                "cf": {
                    "config": {
                        "distributionDomainName": "local.simulator.cloudfront.net",
                        "distributionId": "ELOCAL",
                        "eventType": "origin-request",
                    },
                    "request": {
                        "clientIp": "127.0.0.1",
                        "headers": {
                            "user-agent": [{"key": "User-Agent", "value": "sdk/1"}],
                            "x-twice": [{"key": "X-Twice", "value": "a"}, {"key": "x-twice", "value": "b"}],
                            "via": [{"key": "Via", "value": "1.1 local.simulator.cloudfront.net (CloudFront)"}],
                            "x-forwarded-for": [{"key": "X-Forwarded-For", "value": "127.0.0.1"}],
                            "host": [{"key": "Host", "value": "origin.invalid"}],
                        },
                        "method": "GET",
                        "querystring": "limit=2&q=%20a",
                        "uri": "/openai/v1/models",
                        "origin": {
                            "custom": {
                                "customHeaders": {},
                                "domainName": "origin.invalid",
                                "keepaliveTimeout": 5,
                                "path": "",
                                "port": 443,
                                "protocol": "https",
                                "readTimeout": 120,
                                "sslProtocols": ["TLSv1.2"],
                            }
                        },
                    },
                }
            }
        ]
    }


def test_request_ids_do_not_repeat() -> None:
    ids = {event_of(get())["Records"][0]["cf"]["config"]["requestId"] for _ in range(3)}
    assert len(ids) == 3


def test_claimed_addresses_are_ignored() -> None:
    """Source addresses and hops claimed by the client are ignored."""
    claims = ("X-Forwarded-For: 198.51.100.1", "Via: 1.1 proxy", "X-Real-IP: 198.51.100.1", "X-Forwarded-Proto: https")
    request = cf_request(event_of(get("/", *claims, "X-Amz-Cf-Id: mine", "X-Edge-Location: here")))
    assert request["clientIp"] == "127.0.0.1"
    assert request["headers"] == {
        "via": [{"key": "Via", "value": "1.1 local.simulator.cloudfront.net (CloudFront)"}],
        "x-forwarded-for": [{"key": "X-Forwarded-For", "value": "127.0.0.1"}],
        "host": [{"key": "Host", "value": "origin.invalid"}],
    }


def test_headers_of_the_viewers_hop_are_not_passed() -> None:
    lines = ("Keep-Alive: 5", "TE: trailers", "Proxy-Authorization: x", "X-Hop: 1", "X-Kept: 1")
    sent = head("POST / HTTP/1.1", "Connection: X-Hop", *lines, "Transfer-Encoding: chunked")
    request = cf_request(event_of(sent + b"0\r\n\r\n"))
    assert request["headers"].keys() == {"x-kept", "via", "x-forwarded-for", "host"}


def test_a_header_that_is_not_utf8_is_read_as_latin1() -> None:
    sent = get("/", "X-Utf: é").replace(b"\r\n\r\n", b"\r\nX-Latin: caf\xe9\r\n\r\n")
    headers = cf_request(event_of(sent))["headers"]
    assert [headers["x-utf"][0]["value"], headers["x-latin"][0]["value"]] == ["é", "café"]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(get("/" + "a" * 8192), id="URL of 8,193 bytes"),
        pytest.param(get("/", *(f"X-{n}: {'a' * 1000}" for n in range(21))), id="headers together"),
        pytest.param(get("/", "X-One: " + "a" * 20_480), id="one header"),
        pytest.param(get("/", *(f"X-{n}: a" for n in range(300))), id="300 headers"),
        pytest.param(get("/" + "a" * 30_000), id="URL past the parser's limit"),
    ],
)
def test_large_head_is_a_413(sent: bytes) -> None:
    """A head over CloudFront's limits is a 413."""
    assert refused(sent) == (413, "request_too_large")


def test_a_head_exactly_at_the_limits_passes() -> None:
    url = "/" + "a" * 8191
    rest = 20_480 - len(get(url)) + 2 - len("X: \r\n")  # the empty line at the end does not count
    assert len(cf_request(event_of(get(url, "X: " + "a" * rest)))["uri"]) == 8192
    assert refused(get(url, "X: " + "a" * (rest + 1))) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("framing", "body"), [("Content-Length: 2", b"ab"), ("Transfer-Encoding: chunked", b"2\r\nab\r\n0\r\n\r\n")]
)
def test_a_body_on_get_or_head_is_answered_403(framing: str, body: bytes) -> None:
    assert refused(get("/", framing) + body) == (403, "body_not_allowed")
    start, no_body = asyncio.run(talk(lambda _event, _context: {}, head("HEAD / HTTP/1.1", framing) + body))
    assert start.startswith("HTTP/1.1 403 ")
    assert no_body == b""


@pytest.mark.parametrize("other", ["Transfer-Encoding: chunked", "Content-Length: 2"])
def test_a_request_of_two_lengths_is_answered_400(other: str) -> None:
    sent = head("POST / HTTP/1.1", "Content-Length: 1", other) + b"2\r\nhi\r\n0\r\n\r\n"
    assert refused(sent) == (400, "malformed_request")


@pytest.mark.parametrize("target", ["/a#b", "http://edge/a", "*", "/caf\xe9"])
def test_ambiguous_target_is_refused(target: str) -> None:
    """A target that would change on the way is refused."""
    status, code = refused(head(f"OPTIONS {target} HTTP/1.1"))
    assert (status, code) in {(400, "malformed_target"), (400, "malformed_request")}


def test_unsupported_method_is_a_405() -> None:
    """A method that CloudFront does not support is a 405."""
    assert refused(head("TRACE / HTTP/1.1")) == (405, "method_not_allowed")


def test_a_websocket_upgrade_is_refused_in_words() -> None:
    sent = b"GET / HTTP/1.1\r\nHost: edge\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert refused(sent) == (400, "upgrade_not_supported")


def test_an_unknown_expectation_is_answered_417() -> None:
    sent = head("POST / HTTP/1.1", "Expect: coffee", "Content-Length: 0")
    assert refused(sent) == (417, "expectation_failed")


@pytest.mark.parametrize(
    "line", ["Authorization: Bearer kb-s3cret\x01", "X-kb-s3cret\x01: a", "Content-Length: kb-s3cret"]
)
def test_malformed_request_is_not_quoted(line: str, caplog: pytest.LogCaptureFixture) -> None:
    """The response to a malformed request does not quote it."""
    answer = asyncio.run(talk(lambda _event, _context: {"status": "299"}, get("/", line)))
    assert door_error(answer) == (400, "malformed_request")
    assert "s3cret" not in answer[0] + answer[1].decode() + caplog.text


def test_generated_response_is_sent_unchanged() -> None:
    """A generated response is sent to the viewer unchanged."""
    headers = {
        "content-type": [{"key": "Content-Type", "value": "text/plain"}],
        "date": [{"key": "Date", "value": "x"}],
        "set-cookie": [{"key": "Set-Cookie", "value": "a=1"}, {"key": "Set-Cookie", "value": "b=2"}],
    }
    result = {"status": "429", "statusDescription": "Slow Down", "headers": headers, "body": "é"}
    lines = ["HTTP/1.1 429 Slow Down", "Content-Type: text/plain", "Date: x", "Set-Cookie: a=1", "Set-Cookie: b=2"]
    start = "\r\n".join([*lines, "Content-Length: 2", "Connection: close"])
    assert asyncio.run(talk(lambda _event, _context: result, get())) == (start, "é".encode())
    assert asyncio.run(talk(lambda _event, _context: result, head("HEAD / HTTP/1.1"))) == (start, b"")


def test_exception_in_the_function_is_a_502(caplog: pytest.LogCaptureFixture) -> None:
    """An exception in the function is a 502 without its text."""

    def handler(_event: dict[str, Any], _context: object) -> dict[str, Any]:
        raise KeyError("kb-s3cret")

    answer = asyncio.run(talk(handler, get()))
    assert door_error(answer) == (502, "edge_failed")
    assert "KeyError at handler:" in caplog.text
    assert "s3cret" not in caplog.text + str(answer)


def test_a_malformed_result_is_answered_502() -> None:
    assert door_error(asyncio.run(talk(lambda _event, _context: {"status": 200}, get()))) == (502, "edge_failed")


def test_a_function_gets_the_request_id_and_its_time() -> None:
    seen: list[tuple[str, str, bool]] = []

    def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        request_id = event["Records"][0]["cf"]["config"]["requestId"]
        seen.append((request_id, context.aws_request_id, 0 < context.get_remaining_time_in_millis() <= 30_000))
        return {"status": "200"}

    asyncio.run(talk(handler, get()))
    ((request_id, context_id, in_time),) = seen
    assert request_id == context_id
    assert in_time


def test_token_path_goes_to_the_broker() -> None:
    """Anthropic's token path goes to the broker without the function."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def run(path: str) -> tuple[str, int]:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            broker = f"http://127.0.0.1:{port}/stage/"
            answer = await talk(lambda _event, _context: {"status": "403"}, head(f"POST {path} HTTP/1.1"), broker)
            return answer[0].split(" ")[1], port

    status, port = asyncio.run(run("/anthropic/v1/oauth/token?a=1"))
    assert status == "201"
    assert heads[0].startswith(f"POST /stage/anthropic/v1/oauth/token?a=1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n")
    assert asyncio.run(run("/anthropic/v1/oauth/token/"))[0] == "403"


@pytest.mark.parametrize("broker", ["/broker", "ftp://broker.example", "http://[::1]:8000"])
def test_a_broker_without_a_host_name_is_refused(broker: str) -> None:
    async def run() -> None:
        make_distribution(lambda _event, _context: {}, broker=broker)

    with pytest.raises(ValueError, match="the broker's URL must be http or https"):
        asyncio.run(run())


def test_no_id_comes_twice() -> None:
    """Each request has an id of 128 bits that nobody can guess, also where they are made in lots."""
    found = list(itertools.islice(request_ids(), 1_000))
    assert len(set(found)) == len(found)
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in found)
