from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import ClientSession, web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.httpsession import URLLib3Session
from chalice.app import Chalice, CustomAuthorizer, IAMAuthorizer, Request, Response
from yarl import URL

from local.errors import AwsCallersMalformed
from local.simulator.api_gateway import MAX_HEADER_BYTES, Gateway, make_gateway
from local.simulator.sigv4 import MAX_BODY_BYTES, Caller, Credential, InvalidSignatureError, SignedRequest, verify

REGION = "eu-west-1"
SECRET = "practice-secret"
CALLER = Caller("AKIDUSER", "123456789012", "arn:aws:iam::123456789012:user/ada", "AIDAADA")
CREDENTIALS = {"AKIDUSER": Credential(SECRET, CALLER)}
FORM = "application/x-www-form-urlencoded"
NULL_IDENTITY = {
    "accessKey": None,
    "accountId": None,
    "apiKey": None,
    "apiKeyId": None,
    "caller": None,
    "cognitoAuthenticationProvider": None,
    "cognitoAuthenticationType": None,
    "cognitoIdentityId": None,
    "cognitoIdentityPoolId": None,
    "principalOrgId": None,
    "user": None,
    "userArn": None,
}
GATE = threading.Event()
"""Opened when a test is over, so that no slow call outlives it."""


def authenticate(request: SignedRequest, now: int) -> Caller:
    host = next(value for name, value in request.headers if name.lower() == "host")
    return verify(request, CREDENTIALS, region=REGION, hosts=(host.partition(":")[0],), now=now)


def new_app(name: str) -> Chalice:
    return Chalice(name, configure_logs=False, env={})


def current(app: Chalice) -> Request:
    assert app.current_request is not None
    return app.current_request


def public_app() -> Chalice:
    app = new_app("public")
    add_echoes(app)
    add_answers(app)
    add_failures(app)
    return app


def add_echoes(app: Chalice) -> None:
    def echo(**_: str) -> object:
        return current(app).to_original_event()

    for pattern in ("/", "/echo", "/echo/{name}", "/echo/literal", "/echo/{name}/part/{other}", "/{first}/literal"):
        app.route(pattern, methods=["GET", "POST"], content_types=["*/*"], name=pattern)(echo)
    app.route("/token", methods=["POST"], content_types=[FORM, "application/json"], name="token")(echo)
    iam = {"authorizer": IAMAuthorizer(), "content_types": ["*/*"]}
    app.route("/token/iam", methods=["POST", "GET"], name="iam", **iam)(echo)

    @app.route("/slowly/{name}")
    def slowly(name: str) -> object:
        time.sleep(0.005)
        return {"said": name, "heard": (current(app).uri_params or {})["name"], "app": id(app)}

    @app.route("/context")
    def context() -> object:
        given = app.lambda_context
        return {
            "aws_request_id": given.aws_request_id,
            "function_name": given.function_name,
            "invoked_function_arn": given.invoked_function_arn,
            "memory_limit_in_mb": given.memory_limit_in_mb,
            "remaining": given.get_remaining_time_in_millis(),
        }


def add_answers(app: Chalice) -> None:
    @app.route("/picture")
    def picture() -> Response:
        return Response(b"\x89PNG\x00\xff", headers={"Content-Type": "image/png"})

    @app.route("/cookies")
    def cookies() -> Response:
        return Response("", headers={"Set-Cookie": ["a=1", "b=2"]}, status_code=204)

    @app.route("/named")
    def named() -> Response:
        return Response({}, headers={"X-Request-Id": "the-app-s", "Content-Length": "999"}, status_code=201)

    @app.route("/raw", methods=["POST"])
    def raw() -> object:
        return current(app).json_body

    # What a handler returns to Lambda, unfiltered by Chalice: API Gateway's checks are under test.
    app.middleware("http")(lambda event, get: _Verbatim(event.json_body) if event.path == "/raw" else get(event))


class _Verbatim:
    """An answer that Chalice passes on as it is."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def to_dict(self, _: object) -> object:
        return self.answer


def add_failures(app: Chalice) -> None:
    @app.route("/boom")
    def boom() -> object:
        raise RuntimeError("private words")

    @app.route("/unserialisable")
    def unserialisable() -> object:
        return object()

    @app.route("/exit")
    def leave() -> object:
        raise SystemExit("private words")

    @app.route("/stuck")
    def stuck() -> object:
        GATE.wait(5)
        return {}


def admin_app() -> Chalice:
    app = new_app("admin")

    def echo(**_: str) -> object:
        return current(app).to_original_event()

    app.route("/admin/policy", methods=["GET", "PUT"], authorizer=IAMAuthorizer(), name="policy")(echo)
    app.route("/admin/principals/{principal}", methods=["GET"], authorizer=IAMAuthorizer(), name="principal")(echo)
    app.route("/admin/open", methods=["GET"], name="open")(echo)
    return app


@dataclass(frozen=True)
class Running:
    """A gateway that answers on loopback, and a client for it."""

    server: Gateway
    port: int
    client: ClientSession

    def url(self, target: str) -> URL:
        return URL(f"http://127.0.0.1:{self.port}{target}", encoded=True)

    async def event(self, method: str, target: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401  aiohttp's options
        async with self.client.request(method, self.url(target), **options) as response:
            event: dict[str, Any] = await response.json()
            assert response.status == 200, event
            assert response.headers["x-request-id"] == event["requestContext"]["requestId"]
            return event

    async def refusal(self, method: str, target: str, **options: Any) -> tuple[int, dict[str, Any]]:  # noqa: ANN401  as above
        async with self.client.request(method, self.url(target), **options) as response:
            body: dict[str, Any] = await response.json(content_type=None)
            assert response.headers["x-request-id"] == response.headers["request-id"] == body["request_id"]
            assert response.headers["cache-control"] == "no-store"
            kind = "application/problem+json" if target.startswith("/admin") else "application/json"
            assert response.content_type == kind
            return response.status, body

    async def raw(self, sent: bytes) -> tuple[int, dict[str, str], bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(sent)
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))
        finally:
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def running(workers: int = 4) -> AsyncIterator[Running]:
    GATE.clear()
    server = make_gateway(public_app, admin_app, authenticate, workers=workers)
    runner = web.ServerRunner(server)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with ClientSession() as client:
            yield Running(server, runner.addresses[0][1], client)
    finally:
        GATE.set()
        await runner.cleanup()


def run_scenario(scenario: Callable[[Running], Coroutine[Any, Any, None]], workers: int = 4) -> None:
    async def run() -> None:
        async with running(workers) as gateway:
            await scenario(gateway)

    asyncio.run(run())


def signed(
    gateway: Running, method: str, target: str, data: bytes = b"", headers: Mapping[str, str] | None = None
) -> AWSRequest:
    request = AWSRequest(method=method, url=str(gateway.url(target)), data=data, headers=headers)
    SigV4Auth(ReadOnlyCredentials("AKIDUSER", SECRET, None), "execute-api", REGION).add_auth(request)
    return request


async def send(request: AWSRequest) -> tuple[int, dict[str, Any]]:
    """Sends as botocore's own clients do."""
    status, body, _ = await send_for_headers(request)
    return status, body


async def send_for_headers(request: AWSRequest) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    """The same, with the response's headers."""

    def exchange() -> tuple[int, dict[str, Any], Mapping[str, str]]:
        session = URLLib3Session()
        try:
            response = session.send(request.prepare())
            return response.status_code, json.loads(response.content), response.headers
        finally:
            session.close()

    return await asyncio.to_thread(exchange)


def test_the_event_is_api_gateway_s() -> None:
    async def scenario(gateway: Running) -> None:
        event = await gateway.event(
            "POST",
            "/echo/a%2Fb?x=1&y=%C3%BC+z&x=2&empty=",
            data=b'{"k": "\xc3\xa4"}',
            headers={"Content-Type": "application/json", "User-Agent": "me/1"},
        )
        context = event.pop("requestContext")
        assert event["resource"] == "/echo/{name}"
        assert event["path"] == "/echo/a%2Fb"
        assert event["httpMethod"] == "POST"
        assert event["pathParameters"] == {"name": "a%2Fb"}
        assert event["queryStringParameters"] == {"x": "2", "y": "ü z", "empty": ""}
        assert event["multiValueQueryStringParameters"] == {"x": ["1", "2"], "y": ["ü z"], "empty": [""]}
        assert event["headers"]["Content-Type"] == "application/json"
        assert event["multiValueHeaders"]["Content-Type"] == ["application/json"]
        assert event["stageVariables"] is None
        assert (event["body"], event["isBase64Encoded"]) == ('{"k": "ä"}', False)
        assert context["identity"] == NULL_IDENTITY | {"sourceIp": "127.0.0.1", "userAgent": "me/1"}
        assert context["resourcePath"] == "/echo/{name}"
        assert (context["httpMethod"], context["stage"], context["protocol"]) == ("POST", "api", "HTTP/1.1")
        assert context["path"] == "/api/echo/a%2Fb"
        assert abs(context["requestTimeEpoch"] / 1000 - time.time()) < 5
        assert len(context["requestId"]) == 36

    run_scenario(scenario)


def test_repeated_headers_are_kept() -> None:
    """`headers` has a repeated header's last value, `multiValueHeaders` all of them."""

    async def scenario(gateway: Running) -> None:
        _, _, body = await gateway.raw(b"GET /echo HTTP/1.1\r\nHost: x\r\nX-Two: one\r\nx-two: two\r\n\r\n")
        event = json.loads(body)
        assert event["headers"]["X-Two"] == "two"
        assert event["multiValueHeaders"]["X-Two"] == ["one", "two"]
        assert "x-two" not in event["headers"]

    run_scenario(scenario)


def test_what_is_absent_is_null() -> None:
    async def scenario(gateway: Running) -> None:
        event = await gateway.event("GET", "/")
        assert (event["body"], event["isBase64Encoded"]) == (None, False)
        assert event["queryStringParameters"] is None
        assert event["multiValueQueryStringParameters"] is None
        assert event["pathParameters"] is None

    run_scenario(scenario)


def test_request_ids_differ_and_are_the_gateway_s_own() -> None:
    async def scenario(gateway: Running) -> None:
        headers = {"x-request-id": "mine", "x-amzn-requestid": "mine", "x-amz-request-id": "mine"}
        events = [await gateway.event("GET", "/echo", headers=headers) for _ in range(2)]
        ids = {event["requestContext"]["requestId"] for event in events}
        assert len(ids) == 2
        assert "mine" not in ids

    run_scenario(scenario)


def test_a_client_cannot_name_itself() -> None:
    async def scenario(gateway: Running) -> None:
        named = {"X-Forwarded-For": "198.51.100.7", "Forwarded": "for=198.51.100.7", "X-Amzn-Caller": "root"}
        named |= {"userArn": CALLER.arn, "accountId": CALLER.account, "X-Amz-Meta": CALLER.arn}
        event = await gateway.event("GET", "/echo", headers={**named, "User-Agent": "me/1"})
        assert event["requestContext"]["identity"] == NULL_IDENTITY | {"sourceIp": "127.0.0.1", "userAgent": "me/1"}

    run_scenario(scenario)


def test_forwarding_headers_are_replaced() -> None:
    """A client's forwarding headers do not reach the app."""

    async def scenario(gateway: Running) -> None:
        sent = {"X-Forwarded-For": "198.51.100.7", "x-forwarded-host": "evil", "X-Amzn-Trace-Id": "t", "TE": "trailers"}
        headers = (await gateway.event("GET", "/echo", headers=sent))["headers"]
        assert headers["X-Forwarded-For"] == "127.0.0.1"
        assert not {name.lower() for name in headers} & {"x-forwarded-host", "x-amzn-trace-id", "te"}

    run_scenario(scenario)


def test_signature_without_authorizer_is_ignored() -> None:
    """A signature on a route without an IAM authorizer sets no identity."""

    async def scenario(gateway: Running) -> None:
        status, event = await send(signed(gateway, "GET", "/echo"))
        assert status == 200
        assert event["requestContext"]["identity"]["userArn"] is None
        assert "authorization" not in {name.lower() for name in event["headers"]}

    run_scenario(scenario)


def test_bearer_token_reaches_the_app() -> None:
    """A bearer token reaches a route without an IAM authorizer."""

    async def scenario(gateway: Running) -> None:
        event = await gateway.event("GET", "/echo", headers={"Authorization": "Bearer abc"})
        assert event["headers"]["Authorization"] == "Bearer abc"

    run_scenario(scenario)


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "Application/Zip; version=1"])
def test_a_binary_type_arrives_in_base64(kind: str) -> None:
    async def scenario(gateway: Running) -> None:
        event = await gateway.event("POST", "/echo", data=b"\x00\xff", headers={"Content-Type": kind})
        assert event["isBase64Encoded"] is True
        assert base64.b64decode(event["body"]) == b"\x00\xff"

    run_scenario(scenario)


def test_invalid_utf_8_is_replaced() -> None:
    """Bytes that are not UTF-8 arrive as replacement characters."""

    async def scenario(gateway: Running) -> None:
        event = await gateway.event("POST", "/echo", data=b"a\xff\xfeb", headers={"Content-Type": "text/plain"})
        assert (event["body"], event["isBase64Encoded"]) == ("a\ufffd\ufffdb", False)

    run_scenario(scenario)


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/echo", "/echo"),
        ("/echo/", "/echo"),
        ("/echo/literal", "/echo/literal"),
        ("/echo/other", "/echo/{name}"),
        ("/else/literal", "/{first}/literal"),
        ("/echo/a/part/b", "/echo/{name}/part/{other}"),
        ("/token/iamb", None),
        ("/echo/a/part", None),
        ("/echo//part/b", None),
        ("//echo", None),
        ("/echo/./literal", None),
        ("/%65cho", None),
        ("/nothing/here", None),
    ],
)
def test_a_literal_segment_wins_over_a_name(path: str, pattern: str | None) -> None:
    async def scenario(gateway: Running) -> None:
        if pattern is None:
            status, body = await gateway.refusal("GET", path)
            assert (status, body["error"]) == (404, "invalid_request")
        else:
            assert (await gateway.event("GET", path))["resource"] == pattern

    run_scenario(scenario)


def test_wrong_method_is_a_405() -> None:
    """A wrong method is a 405 whose Allow names the right ones."""

    async def scenario(gateway: Running) -> None:
        for path, allowed in (("/echo", "GET, POST"), ("/admin/policy", "GET, PUT")):
            async with gateway.client.delete(gateway.url(path)) as response:
                assert response.status == 405
                assert response.headers["Allow"] == allowed

    run_scenario(scenario)


def test_each_api_refuses_in_its_own_form() -> None:
    async def scenario(gateway: Running) -> None:
        status, body = await gateway.refusal("GET", "/nothing")
        request_id = body.pop("request_id")
        assert (status, body) == (
            404,
            {"error": "invalid_request", "error_description": "no such path"},
        )
        status, body = await gateway.refusal("GET", "/admin/nothing")
        assert body.pop("request_id") != request_id
        assert body == {
            "type": "about:blank",
            "title": "Not Found",
            "status": status,
            "detail": "no such path",
        }

    run_scenario(scenario)


def test_admin_is_a_whole_segment() -> None:
    async def scenario(gateway: Running) -> None:
        assert (await gateway.event("GET", "/admin/open"))["resource"] == "/admin/open"
        assert (await gateway.event("GET", "/administer/literal"))["resource"] == "/{first}/literal"
        assert (await gateway.refusal("GET", "/admin"))[0] == 404
        assert (await gateway.refusal("GET", "/admin/token"))[0] == 404

    run_scenario(scenario)


def test_form_route_content_types() -> None:
    """A form route accepts its content types; Chalice refuses others."""

    async def scenario(gateway: Running) -> None:
        for kind, data in ((FORM + "; charset=utf-8", b"a=1&b=2"), ("application/json", b"{}")):
            event = await gateway.event("POST", "/token", data=data, headers={"Content-Type": kind})
            assert event["body"] == data.decode()
        headers = {"Content-Type": "text/plain"}
        async with gateway.client.post(gateway.url("/token"), data=b"x", headers=headers) as response:
            assert response.status == 415
            assert "x-request-id" in response.headers

    run_scenario(scenario)


def test_signed_request_has_the_callers_identity() -> None:
    """The event of a signed request has the caller's identity."""

    async def scenario(gateway: Running) -> None:
        headers = {"Content-Type": "application/json", "X-Forwarded-For": "198.51.100.7"}
        status, event = await send(signed(gateway, "PUT", "/admin/policy?dry_run=true", b'{"a": 1}', headers))
        assert status == 200
        identity = event["requestContext"]["identity"]
        assert identity["sourceIp"] == "127.0.0.1"
        assert {name: identity[name] for name in ("accessKey", "accountId", "caller", "user", "userArn")} == {
            "accessKey": CALLER.access_key_id,
            "accountId": CALLER.account,
            "caller": CALLER.user_id,
            "user": CALLER.user_id,
            "userArn": CALLER.arn,
        }
        assert event["body"] == '{"a": 1}'
        assert "authorization" not in {name.lower() for name in event["headers"]}

    run_scenario(scenario)


@pytest.mark.parametrize(
    "target",
    [
        "/admin/principals/https%3A%2F%2Ftoken.example%7Crepository_id%3A1234",
        "/admin/principals/%C3%BC%20~a?x=&x=2&x=1&flag",
        "/admin/principals/a,b,c:d@e!$&'()*+=?name=%F0%9F%94%91&q=a+b%2B",
        "/admin/policy/?a%20b=c/d:e?f",
    ],
)
def test_odd_targets_survive_the_wire_signed(target: str) -> None:
    async def scenario(gateway: Running) -> None:
        status, event = await send(signed(gateway, "GET", target))
        assert (status, event.get("path")) == (200, target.partition("?")[0]), event

    run_scenario(scenario)


def test_a_compressed_body_is_verified_as_it_was_sent() -> None:
    async def scenario(gateway: Running) -> None:
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/zip"}
        body = gzip.compress(b"words")
        status, event = await send(signed(gateway, "POST", "/token/iam", body, headers))
        assert status == 200
        assert base64.b64decode(event["body"]) == body

    run_scenario(scenario)


def test_an_unsigned_request_is_refused() -> None:
    async def scenario(gateway: Running) -> None:
        for target in ("/token/iam", "/token/iam/", "/admin/policy"):
            status, body = await gateway.refusal("GET", target)
            assert status == 403
            assert body.get("error_description", body.get("detail")) == "the request is not signed"

    run_scenario(scenario)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": b'{"a": 2}'}, "the signature does not match the request"),
        ({"X-Amz-Date": "20200101T000000Z"}, "x-amz-date is not on the day of the credential scope"),
        ({"Content-Type": "text/plain"}, "the signature does not match the request"),
        ({"Host": "elsewhere"}, "the signature does not match the request"),
        ({"Authorization": "garbage"}, "the Authorization header is not an AWS Signature Version 4"),
        ({"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}, "an x-amz- header is not signed"),
    ],
)
def test_a_tampered_request_is_refused_with_its_reason(change: dict[str, Any], reason: str) -> None:
    async def scenario(gateway: Running) -> None:
        headers = {"Content-Type": "application/json", "Host": f"127.0.0.1:{gateway.port}"}
        request = signed(gateway, "PUT", "/admin/policy", b'{"a": 1}', headers)
        data = change.get("data", b'{"a": 1}')
        sent = dict(request.headers.items()) | {name: text for name, text in change.items() if name != "data"}
        status, body = await gateway.refusal("PUT", "/admin/policy", data=data, headers=sent)
        assert (status, body["detail"]) == (403, reason)

    run_scenario(scenario)


def test_two_authorization_headers_are_refused() -> None:
    async def scenario(gateway: Running) -> None:
        sent = [*signed(gateway, "GET", "/admin/policy").headers.items(), ("Authorization", "Bearer x")]
        status, body = await gateway.refusal("GET", "/admin/policy", headers=sent)
        assert (status, body["detail"]) == (403, "authorization occurs more than once")

    run_scenario(scenario)


def test_an_authenticator_that_fails_opens_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: SignedRequest, __: int) -> Caller:
        raise OSError("private words")

    async def scenario(gateway: Running) -> None:
        gateway.server._authenticate = broken
        status, body = await gateway.refusal("GET", "/admin/policy")
        assert (status, body["title"]) == (502, "Bad Gateway")
        assert "private" not in json.dumps(body)

    with caplog.at_level(logging.CRITICAL):
        run_scenario(scenario)


@pytest.mark.parametrize(
    "guard", [{"authorizer": CustomAuthorizer("c", authorizer_uri="arn:x")}, {"api_key_required": True}]
)
def test_a_route_that_cannot_be_guarded_is_not_served(guard: dict[str, Any]) -> None:
    def guarded() -> Chalice:
        app = new_app("guarded")
        app.route("/", **guard)(dict)
        return app

    async def start() -> None:
        make_gateway(guarded, admin_app, authenticate)

    with pytest.raises(ValueError, match="only IAM authorizers can be checked"):
        asyncio.run(start())


def test_binary_answers_are_decoded() -> None:
    async def scenario(gateway: Running) -> None:
        async with gateway.client.get(gateway.url("/picture"), headers={"Accept": "image/png"}) as response:
            assert response.content_type == "image/png"
            assert await response.read() == b"\x89PNG\x00\xff"

    run_scenario(scenario)


def test_repeated_answer_headers_are_kept() -> None:
    async def scenario(gateway: Running) -> None:
        async with gateway.client.get(gateway.url("/cookies")) as response:
            assert response.status == 204
            assert response.headers.getall("Set-Cookie") == ["a=1", "b=2"]

    run_scenario(scenario)


def test_apps_request_id_is_kept() -> None:
    """The app's request ID is kept; its framing headers are not."""

    async def scenario(gateway: Running) -> None:
        async with gateway.client.get(gateway.url("/named")) as response:
            assert response.status == 201
            assert response.headers.getall("x-request-id") == ["the-app-s"]
            assert response.headers.getall("Content-Length") == ["2"]

    run_scenario(scenario)


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        ({"statusCode": 200}, (200, b"")),
        ({"statusCode": "418", "body": "ä"}, (418, "ä".encode())),
        ({"statusCode": 200, "body": "AP8=", "isBase64Encoded": True}, (200, b"\x00\xff")),
        ({"statusCode": 200, "body": None, "headers": None, "multiValueHeaders": {"X-A": [1, True]}}, (200, b"")),
    ],
)
def test_a_well_formed_answer_is_sent(answer: object, sent: tuple[int, bytes]) -> None:
    async def scenario(gateway: Running) -> None:
        async with gateway.client.post(gateway.url("/raw"), json=answer) as response:
            assert (response.status, await response.read()) == sent
            assert response.content_type == "application/json"

    run_scenario(scenario)


def test_single_and_repeated_headers_are_merged() -> None:
    async def scenario(gateway: Running) -> None:
        answer = {"statusCode": 200, "headers": {"x-a": "1", "x-b": "2"}, "multiValueHeaders": {"X-A": ["1", "3"]}}
        async with gateway.client.post(gateway.url("/raw"), json=answer) as response:
            assert response.headers.getall("x-a") == ["1", "3"]
            assert response.headers.getall("x-b") == ["2"]

    run_scenario(scenario)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "text",
        {},
        {"statusCode": True},
        {"statusCode": 99},
        {"statusCode": 2000},
        {"statusCode": "200\n"},
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "body": "%%", "isBase64Encoded": True},
        {"statusCode": 200, "body": "", "isBase64Encoded": "yes"},
        {"statusCode": 200, "headers": []},
        {"statusCode": 200, "headers": {"x": ["1"]}},
        {"statusCode": 200, "headers": {"x y": "1"}},
        {"statusCode": 200, "multiValueHeaders": {"x": "1"}},
    ],
)
def test_a_malformed_answer_is_a_502(answer: object) -> None:
    async def scenario(gateway: Running) -> None:
        status, body = await gateway.refusal("POST", "/raw", json=answer)
        assert (status, body["error"]) == (502, "server_error")

    run_scenario(scenario)


@pytest.mark.parametrize("value", ["a\r\nX-B: 1", "a\nb", "a\x00"])
def test_a_header_with_a_line_break_is_a_502(value: str) -> None:
    async def scenario(gateway: Running) -> None:
        status, _ = await gateway.refusal("POST", "/raw", json={"statusCode": 200, "headers": {"X-A": value}})
        assert status == 502

    run_scenario(scenario)


@pytest.mark.parametrize("path", ["/unserialisable", "/exit"])
def test_an_exception_is_a_502_without_its_text(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(gateway: Running) -> None:
        status, body = await gateway.refusal("GET", path)
        assert (status, body["error"], body["error_description"]) == (
            502,
            "server_error",
            "the broker returned no valid response",
        )
        assert body["request_id"] in caplog.text
        assert (await gateway.event("GET", "/echo"))["path"] == "/echo"

    run_scenario(scenario)


def test_unreadable_callers_are_a_503(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the callers' file cannot be read, nobody is verified; the log says why, in a line."""

    def unreadable(*_arguments: object, **_named: object) -> Caller:
        raise AwsCallersMalformed(hint="aws-callers.json is open to others")

    monkeypatch.setattr("tests.local.simulator.test_api_gateway.verify", unreadable)

    async def scenario(gateway: Running) -> None:
        status, body, headers = await send_for_headers(signed(gateway, "GET", "/admin/policy"))
        assert (status, body["detail"]) == (503, "the broker cannot verify who calls; its log says why")
        assert ("retry-after" in headers, headers["x-should-retry"]) == (False, "false")

    run_scenario(scenario)
    [line] = [one for one in caplog.messages if "callers" in one]
    assert "aws-callers.json is open to others" in line


def test_exception_in_a_view_is_a_500() -> None:
    """An exception in a view is Chalice's 500, without its text."""

    async def scenario(gateway: Running) -> None:
        async with gateway.client.get(gateway.url("/boom")) as response:
            assert response.status == 500
            assert "private" not in await response.text()
            assert "x-request-id" in response.headers

    run_scenario(scenario)


def test_a_call_that_takes_too_long_is_a_504() -> None:
    async def scenario(gateway: Running) -> None:
        gateway.server.integration_timeout = 0.05
        status, body = await gateway.refusal("GET", "/stuck")
        assert (status, body["error"]) == (504, "temporarily_unavailable")

    run_scenario(scenario)


def test_too_many_requests_are_a_503() -> None:
    """Requests without a slot are a 503 until one is free."""

    async def scenario(gateway: Running) -> None:
        gateway.server._public.slots = threading.BoundedSemaphore(1)
        gateway.server.integration_timeout = 0.05
        assert (await gateway.refusal("GET", "/stuck"))[0] == 504
        status, body = await gateway.refusal("GET", "/echo")
        assert (status, body["error"]) == (503, "temporarily_unavailable")
        GATE.set()
        gateway.server.integration_timeout = 5
        for _ in range(100):
            async with gateway.client.get(gateway.url("/echo")) as response:
                if response.status == 200:
                    return
            await asyncio.sleep(0.01)
        pytest.fail("the place was not given back")

    run_scenario(scenario, workers=1)


def test_concurrent_requests_are_separate() -> None:
    """Concurrent requests never see each other's."""

    async def scenario(gateway: Running) -> None:
        async def one(number: int) -> dict[str, Any]:
            async with gateway.client.get(gateway.url(f"/slowly/{number}")) as response:
                said: dict[str, Any] = await response.json()
            assert said["said"] == said["heard"] == str(number)
            return said

        answers = await asyncio.gather(*(one(number) for number in range(60)))
        assert 1 < len({answer["app"] for answer in answers}) <= 4

    run_scenario(scenario)


def test_the_context_is_lambda_s() -> None:
    async def scenario(gateway: Running) -> None:
        async with gateway.client.get(gateway.url("/context")) as response:
            context = await response.json()
            assert len(context["aws_request_id"]) == 36
            assert context["aws_request_id"] != response.headers["x-request-id"]
            assert context["function_name"] == "keybroker-public"
            assert context["invoked_function_arn"].startswith("arn:aws:lambda:")
            assert context["memory_limit_in_mb"] > 0
            assert 0 < context["remaining"] <= 29_000

    run_scenario(scenario)


def test_large_content_length_is_refused_unread() -> None:
    """A body whose Content-Length is too large is refused without reading it."""

    async def scenario(gateway: Running) -> None:
        head = f"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n"
        status, headers, body = await gateway.raw(head.encode())
        assert status == 413
        assert headers["connection"] == "close"
        assert json.loads(body)["request_id"] == headers["x-request-id"] == headers["request-id"]
        assert headers["cache-control"] == "no-store"

    run_scenario(scenario)


def test_a_body_that_grows_too_large_is_refused() -> None:
    async def scenario(gateway: Running) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(MAX_BODY_BYTES // 2**20 + 1):
                yield bytes(2**20)

        status, body = await gateway.refusal("POST", "/echo", data=chunks())
        assert (status, body["error_description"]) == (413, "the body is over 10485760 bytes")

    run_scenario(scenario)


def test_a_body_of_just_the_limit_is_accepted() -> None:
    async def scenario(gateway: Running) -> None:
        status, body = await gateway.refusal("POST", "/token/iam", data=io.BytesIO(bytes(MAX_BODY_BYTES)))
        assert (status, body["error_description"]) == (403, "the request is not signed")

    run_scenario(scenario)


def test_a_body_that_does_not_come_is_a_408() -> None:
    async def scenario(gateway: Running) -> None:
        gateway.server.body_timeout = 0.05
        status, headers, _ = await gateway.raw(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12")
        assert (status, headers["connection"]) == (408, "close")

    run_scenario(scenario)


def test_a_chunked_body_that_is_broken_is_a_400() -> None:
    async def scenario(gateway: Running) -> None:
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        status, _, body = await gateway.raw(head + b"zz\r\n")
        assert (status, json.loads(body)["error"]) == (400, "invalid_request")

    run_scenario(scenario)


def head_of(size: int) -> bytes:
    head = b"GET /echo HTTP/1.1\r\nHost: x\r\nX-Pad: \r\n\r\n"
    return head.replace(b"X-Pad: ", b"X-Pad: " + b"p" * (size - len(head)))


def test_headers_may_take_10240_bytes_and_not_one_more() -> None:
    async def scenario(gateway: Running) -> None:
        assert (await gateway.raw(head_of(MAX_HEADER_BYTES)))[0] == 200
        status, headers, body = await gateway.raw(head_of(MAX_HEADER_BYTES + 1))
        assert (status, headers["content-type"]) == (431, "application/json")
        assert json.loads(body)["request_id"] == headers["x-request-id"] == headers["request-id"]
        assert headers["cache-control"] == "no-store"

    run_scenario(scenario)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /echo HTTP/1.1\r\nHost: x\r\nX-Pad: " + b"p" * 30_000 + b"\r\n\r\n",
        b"GET /" + b"p" * 30_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: x\r\n" + b"a: \r\n" * 1000 + b"\r\n",
    ],
)
def test_parser_limit_is_a_431(head: bytes) -> None:
    """What the parser finds too large is a 431 in the gateway's format."""

    async def scenario(gateway: Running) -> None:
        status, headers, body = await gateway.raw(head)
        assert (status, headers["content-type"]) == (431, "application/json")
        assert json.loads(body)["request_id"] == headers["x-request-id"] == headers["request-id"]
        assert headers["cache-control"] == "no-store"

    run_scenario(scenario)


@pytest.mark.parametrize(
    "head",
    [
        b"nonsense private\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET http://x/echo HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_malformed_http_is_a_400(head: bytes) -> None:
    """Malformed HTTP is a 400 that repeats none of it."""

    async def scenario(gateway: Running) -> None:
        status, headers, body = await gateway.raw(head)
        assert (status, headers["content-type"]) == (400, "application/json")
        assert b"private" not in body
        assert json.loads(body)["request_id"] == headers["x-request-id"] == headers["request-id"]
        assert headers["cache-control"] == "no-store"

    run_scenario(scenario)


def test_a_connection_serves_call_after_call() -> None:
    async def scenario(gateway: Running) -> None:
        call = b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        for _ in range(3):
            writer.write(call)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
            assert json.loads(await reader.readexactly(int(length.split(b": ")[1])))["path"] == "/echo"
        writer.close()
        await writer.wait_closed()

    run_scenario(scenario)


def test_signature_errors_quote_nothing() -> None:
    """An invalid signature's reason quotes nothing of the request."""

    async def scenario(gateway: Running) -> None:
        request = signed(gateway, "GET", "/admin/policy")
        sent = dict(request.headers.items()) | {"X-Amz-Security-Token": "private"}
        _, body = await gateway.refusal("GET", "/admin/policy", headers=sent)
        shown = json.dumps(body)
        signature = request.headers["Authorization"].rpartition("=")[2]
        assert not [word for word in ("private", signature, SECRET, "AKIDUSER") if word in shown]

    run_scenario(scenario)


def test_verifier_gets_the_exact_bytes() -> None:
    """The verifier gets exactly the bytes that were sent."""
    seen: list[SignedRequest] = []

    def watch(request: SignedRequest, _: int) -> Caller:
        seen.append(request)
        raise InvalidSignatureError("seen")

    async def scenario(gateway: Running) -> None:
        gateway.server._authenticate = watch
        headers = {"X-Note": "ä  b"}
        await gateway.refusal("POST", "/token/iam?a=%zz&&b", data=b"\xff\r\n", headers=headers)
        assert seen[0].target == "/token/iam?a=%zz&&b"
        assert ("X-Note", "ä  b") in seen[0].headers
        assert hashlib.sha256(seen[0].body).digest() == hashlib.sha256(b"\xff\r\n").digest()

    run_scenario(scenario)
