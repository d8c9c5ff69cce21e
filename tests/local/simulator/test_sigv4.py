from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode, urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from local.simulator.sigv4 import (
    CLOCK_WINDOW_SECONDS,
    MAX_BODY_BYTES,
    MAX_HEAD_CHARACTERS,
    Caller,
    Credential,
    InvalidSignatureError,
    SignedRequest,
    verify,
)

REGION = "eu-west-1"
SECRET = "practice-secret-one"
ROLE_SECRET = "practice-secret-two"
SESSION_TOKEN = "practice/session+token=="
USER = Caller("AKIDUSER", "123456789012", "arn:aws:iam::123456789012:user/ada", "AIDAADA")
ROLE = Caller("ASIAROLE", "123456789012", "arn:aws:sts::123456789012:assumed-role/ci/run-7", "AROACI:run-7")
CREDENTIALS = {"AKIDUSER": Credential(SECRET, USER), "ASIAROLE": Credential(ROLE_SECRET, ROLE, SESSION_TOKEN)}
URL = "http://127.0.0.1:8080/admin/policy"
HOSTS = ("127.0.0.1", "localhost", "[::1]")
BODY = b'{"reason": "leaked"}'
ODD_TARGETS = [
    "/",
    "/token/",
    "/admin/principals/https%3A%2F%2Ftoken.example%7Crepository_id%3A1234",
    "/admin/principals/arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fci",
    "/admin/keys/caf%C3%A9",
    "/admin/keys/caf%c3%a9",
    "/admin/keys/a%20b~c-d_e.f",
    "/admin/keys/%2e%2e",
    "/admin/keys/a;b,c:d@e!f$g'h(i)j*k",
    "/admin/audit?kind=a&kind=b&kind=a",
    "/admin/audit?since=&until=",
    "/admin/audit?flag",
    "/admin/audit?b=2&a=1&a=0",
    "/admin/audit?a%20b=c%20d",
    "/admin/audit?a=b+c",
    "/admin/audit?a=%2B%26%3D%25",
    "/admin/audit?name=%C3%BC%F0%9F%94%91",
    "/admin/audit?scope=POST:/v1/models?x",
    "/admin/audit?a==b&&c=%zz&d=%ff",
]


def sign(
    method: str = "POST",
    url: str = URL,
    *,
    data: bytes = BODY,
    headers: Mapping[str, str] | None = None,
    params: Sequence[tuple[str, str]] | None = None,
    key: str = "AKIDUSER",
    secret: str | None = None,
    token: str | None = None,
    region: str = REGION,
    service: str = "execute-api",
) -> SignedRequest:
    """What arrives when an ordinary client signs with botocore and sends."""
    request = AWSRequest(method=method, url=url, data=data, headers=headers)
    request.params = params or {}  # type: ignore[assignment]  # botocore takes pairs too; the stubs know of mappings only
    signer = SigV4Auth(ReadOnlyCredentials(key, secret or CREDENTIALS[key].secret, token), service, region)
    signer.add_auth(request)
    return arrived(request)


def arrived(request: AWSRequest) -> SignedRequest:
    sent = request.prepare()
    parts = urlsplit(sent.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = [("Host", parts.netloc), ("Accept", "*/*"), ("User-Agent", "botocore"), *sent.headers.items()]
    body = sent.body if isinstance(sent.body, bytes) else b""
    return SignedRequest(sent.method, target, tuple((name, text(value)) for name, value in headers), body)


def text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def header(request: SignedRequest, name: str) -> str:
    return next(value for found, value in request.headers if found.lower() == name.lower())


def with_header(request: SignedRequest, name: str, value: str | None) -> SignedRequest:
    kept = [pair for pair in request.headers if pair[0].lower() != name.lower()]
    return replace(request, headers=tuple(kept + ([] if value is None else [(name, value)])))


def check(request: SignedRequest, now: int | None = None) -> Caller:
    return verify(request, CREDENTIALS, region=REGION, hosts=HOSTS, now=now_() if now is None else now)


def now_() -> int:
    return int(datetime.now(UTC).timestamp())


def signed_at(request: SignedRequest) -> int:
    return int(datetime.strptime(header(request, "x-amz-date"), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())


def test_a_botocore_client_is_known_by_its_key() -> None:
    assert check(sign()) == USER


def test_a_session_is_known_by_its_key_and_token() -> None:
    assert check(sign(key="ASIAROLE", token=SESSION_TOKEN)) == ROLE


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"])
def test_every_method_verifies_with_and_without_a_body(method: str) -> None:
    assert check(sign(method, data=b"")) == USER
    assert check(sign(method, data=b"\x00\xff")) == USER


@pytest.mark.parametrize("target", ODD_TARGETS)
def test_every_target_that_botocore_signs_verifies(target: str) -> None:
    request = sign("GET", "http://127.0.0.1:8080" + target, data=b"")
    assert request.target == target
    assert check(request) == USER


PAIRS = [("a", "b c"), ("a", "b+c"), ("ü", "🔑"), ("empty", ""), ("x/y", "p:q?r&s=t%"), ("a", "")]


def test_a_query_given_as_params_verifies() -> None:
    assert check(sign("GET", data=b"", params=PAIRS)) == USER


def test_a_query_encoded_into_the_url_verifies() -> None:
    query = urlencode(PAIRS, quote_via=quote, safe="")
    assert check(sign("GET", f"{URL}?{query}", data=b"")) == USER


@settings(max_examples=50, deadline=None)  # other tests share the machine
@given(
    segments=st.lists(st.text(min_size=1, max_size=8).filter(lambda s: s not in {".", ".."}), max_size=4),
    pairs=st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6)), max_size=4),
    body=st.binary(max_size=40),
)
def test_whatever_is_percent_encoded_verifies(segments: list[str], pairs: list[tuple[str, str]], body: bytes) -> None:
    path = "".join("/" + quote(segment, safe="") for segment in segments)
    request = sign("POST", f"http://127.0.0.1:8080{path}", data=body, params=pairs)
    if any(name.lower().startswith("x-amz-") for name, _ in pairs):
        return
    assert check(request) == USER


def test_signed_custom_headers() -> None:
    """A client's own header may be signed, repeated and have spaces."""
    request = sign(headers={"Content-Type": "application/json;  charset=utf-8", "If-Match": '"7"', "X-Note": " ä  b "})
    assert check(request) == USER


def test_unsigned_header_may_change() -> None:
    """An unsigned header that is not Amazon's may change."""
    assert check(with_header(sign(), "User-Agent", "another")) == USER


def test_a_stated_hash_of_the_body_itself_is_accepted() -> None:
    assert check(sign(headers={"X-Amz-Content-SHA256": hashlib.sha256(BODY).hexdigest()})) == USER


@pytest.mark.parametrize("seconds", [-CLOCK_WINDOW_SECONDS, CLOCK_WINDOW_SECONDS])
def test_the_clock_window_includes_its_ends(seconds: int) -> None:
    request = sign()
    assert check(request, signed_at(request) + seconds) == USER


def refused(request: SignedRequest, reason: str, now: int | None = None) -> None:
    with pytest.raises(InvalidSignatureError) as caught:
        check(request, now)
    assert str(caught.value) == reason


MISMATCH = "the signature does not match the request"
STALE = "x-amz-date is too far from now"


@pytest.mark.parametrize("seconds", [-CLOCK_WINDOW_SECONDS - 1, CLOCK_WINDOW_SECONDS + 1, 86_400])
def test_a_replay_outside_the_window_is_refused(seconds: int) -> None:
    request = sign()
    refused(request, STALE, signed_at(request) + seconds)


@pytest.mark.parametrize("body", [b"", BODY + b" ", b'{"reason": "lost"}'])
def test_a_changed_body_is_refused(body: bytes) -> None:
    refused(replace(sign(), body=body), MISMATCH)


def test_a_changed_method_is_refused() -> None:
    refused(replace(sign(), method="PUT"), MISMATCH)


@pytest.mark.parametrize("target", ["/admin/policy/", "/admin/polic%79", "/admin/policy?", "/admin/policy?dry_run"])
def test_changed_target_is_refused(target: str) -> None:
    """A changed target is refused unless it is equivalent."""
    if target.endswith("y?"):
        assert check(replace(sign(), target=target)) == USER
    else:
        refused(replace(sign(), target=target), MISMATCH)


@pytest.mark.parametrize("query", ["a=b%2Bc", "a=b%252Bc", "a=b", "a=b+c&a=", "A=b+c"])
def test_a_changed_query_is_refused(query: str) -> None:
    request = sign("GET", data=b"", params=[("a", "b c")])
    assert request.target.endswith("?a=b+c")
    refused(replace(request, target=f"/admin/policy?{query}"), MISMATCH)


@pytest.mark.parametrize("target", ["/admin//policy", "/admin/./policy", "/admin/keys/../policy", "//admin/policy"])
def test_path_outside_the_signature_is_refused(target: str) -> None:
    """A path that the signature does not distinguish from another is refused."""
    refused(replace(sign(), target=target), "the path has empty or dot segments")


@pytest.mark.parametrize("target", ["/admin/policy#x", "/admin/pölicy", "/a b", "", "http://x/admin", "*", "/a\n"])
def test_target_must_be_printable_ascii(target: str) -> None:
    """A target that is not printable ASCII is refused."""
    refused(replace(sign(), target=target), "the path is not percent-encoded")


@pytest.mark.parametrize(("name", "value"), [("Content-Type", "text/plain"), ("Host", "localhost:8080")])
def test_a_changed_signed_header_is_refused(name: str, value: str) -> None:
    request = sign(headers={"Content-Type": "application/json"})
    refused(with_header(request, name, value), MISMATCH)


def test_a_removed_signed_header_is_refused() -> None:
    request = sign(headers={"Content-Type": "application/json"})
    refused(with_header(request, "Content-Type", None), "a signed header is missing")


def test_a_second_value_of_a_signed_header_is_refused() -> None:
    request = sign(headers={"If-Match": '"7"'})
    refused(replace(request, headers=(*request.headers, ("If-Match", '"8"'))), MISMATCH)


def test_a_changed_date_is_refused() -> None:
    request = sign()
    later = datetime.fromtimestamp(signed_at(request), UTC) + timedelta(seconds=1)
    moved = with_header(request, "X-Amz-Date", later.strftime("%Y%m%dT%H%M%SZ"))
    same_day = later.day == (later - timedelta(seconds=1)).day
    refused(moved, MISMATCH if same_day else "x-amz-date is not on the day of the credential scope")


def test_date_must_match_the_scope() -> None:
    """A date on another day than the credential scope's is refused."""
    request = sign()
    moved = with_header(request, "X-Amz-Date", "20200101T000000Z")
    refused(moved, "x-amz-date is not on the day of the credential scope")


@pytest.mark.parametrize("date", ["20209999T000000Z", "20200101T000000", "20200101T000000Z ", "2020010\u0661T000000Z"])
def test_a_date_that_is_no_time_is_refused(date: str) -> None:
    request = with_header(sign(), "X-Amz-Date", date)
    day = header(request, "Authorization").split("/")[1]
    moved = header(request, "Authorization").replace(f"/{day}/", f"/{date[:8]}/")
    reason = "x-amz-date is not a time"
    if not date[:8].isascii():
        reason = "the Authorization header is not an AWS Signature Version 4"
    refused(with_header(request, "Authorization", moved), reason)


def test_a_missing_date_is_refused() -> None:
    refused(with_header(sign(), "X-Amz-Date", None), "x-amz-date is missing")


def test_date_header_is_not_enough() -> None:
    """A Date header in place of x-amz-date is refused."""
    refused(sign(headers={"Date": "Thu, 01 Jan 2026 00:00:00 GMT"}), "x-amz-date is missing")


def test_another_region_is_refused() -> None:
    refused(sign(region="us-east-1"), "signed for another region")


@pytest.mark.parametrize("service", ["sts", "s3", "execute-api2"])
def test_another_service_is_refused(service: str) -> None:
    refused(sign(service=service), "signed for another service")


def test_a_scope_rewritten_to_ours_is_refused() -> None:
    request = sign(region="us-east-1")
    refused(
        with_header(request, "Authorization", header(request, "Authorization").replace("us-east-1", REGION)), MISMATCH
    )


def test_an_unknown_key_is_refused() -> None:
    refused(sign(key="AKIDNOBODY", secret=SECRET), "the access key is unknown")


def test_a_signature_by_another_secret_is_refused() -> None:
    refused(sign(secret=ROLE_SECRET), MISMATCH)


def test_another_callers_access_key_is_refused() -> None:
    """Another caller's access key with one's own signature is refused."""
    request = sign(key="ASIAROLE", token=SESSION_TOKEN)
    renamed = with_header(request, "Authorization", header(request, "Authorization").replace("ASIAROLE", "AKIDUSER"))
    refused(renamed, "the session token does not belong to the access key")


@pytest.mark.parametrize(("key", "token"), [("ASIAROLE", None), ("ASIAROLE", "other"), ("AKIDUSER", SESSION_TOKEN)])
def test_wrong_session_token_is_refused(key: str, token: str | None) -> None:
    """A session token that does not belong to the access key is refused."""
    refused(sign(key=key, token=token), "the session token does not belong to the access key")


def resigned_names(request: SignedRequest, names: str) -> SignedRequest:
    before, _, rest = header(request, "Authorization").partition("SignedHeaders=")
    return with_header(request, "Authorization", f"{before}SignedHeaders={names},{rest.partition(',')[2]}")


def test_an_unsigned_host_is_refused() -> None:
    refused(resigned_names(sign(), "x-amz-date"), "host is not signed")


@pytest.mark.parametrize("name", ["X-Amz-Security-Token", "X-Amz-Content-Sha256", "X-Amz-Meta"])
def test_an_unsigned_amazon_header_is_refused(name: str) -> None:
    refused(with_header(sign(), name, "x"), "an x-amz- header is not signed")


def test_an_unsigned_date_is_refused() -> None:
    refused(resigned_names(sign(), "host"), "an x-amz- header is not signed")


@pytest.mark.parametrize("stated", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "", "0" * 64])
def test_a_stated_hash_of_another_body_is_refused(stated: str) -> None:
    refused(sign(headers={"X-Amz-Content-SHA256": stated}), "x-amz-content-sha256 is not the hash of the body")


def test_swapped_body_is_refused() -> None:
    """A body that was swapped under its stated hash is refused."""
    request = sign(headers={"X-Amz-Content-SHA256": hashlib.sha256(BODY).hexdigest()})
    refused(replace(request, body=b"{}"), "x-amz-content-sha256 is not the hash of the body")


def test_a_presigned_url_is_refused() -> None:
    request = AWSRequest(method="GET", url=URL)
    SigV4QueryAuth(ReadOnlyCredentials("AKIDUSER", SECRET, None), "execute-api", REGION, expires=60).add_auth(request)
    refused(arrived(request), "the request is not signed")
    both = replace(sign("GET", data=b""), target=arrived(request).target)
    refused(both, "a signature in the query is not accepted")


def test_an_unsigned_request_is_refused() -> None:
    refused(with_header(sign(), "Authorization", None), "the request is not signed")


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
def test_a_second_authorization_is_refused(name: str) -> None:
    request = sign()
    refused(
        replace(request, headers=(*request.headers, (name, header(request, "Authorization")))),
        "authorization occurs more than once",
    )


def test_a_second_x_amz_date_is_refused() -> None:
    request = sign()
    refused(
        replace(request, headers=(*request.headers, ("x-amz-date", "20200101T000000Z"))),
        "x-amz-date occurs more than once",
    )


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer x",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=AKIDUSER/20200101/eu-west-1/execute-api/aws4_request",
        "AWS4-HMAC-SHA256 Credential=A/2/eu-west-1/execute-api/aws4_request, SignedHeaders=host, Signature=00",
        "AWS4-ECDSA-P256-SHA256 Credential=A/20200101/execute-api/aws4_request, SignedHeaders=host, Signature="
        + "0" * 64,
        "AWS4-HMAC-SHA256 Credential=" + "A" * 9000,
    ],
)
def test_a_garbage_authorization_is_refused(value: str) -> None:
    refused(with_header(sign(), "Authorization", value), "the Authorization header is not an AWS Signature Version 4")


def test_signature_must_have_its_exact_form() -> None:
    """A signature in capitals, or with more after it, is refused."""
    request = sign()
    for value in (header(request, "Authorization") + "0", header(request, "Authorization") + "\n"):
        refused(
            with_header(request, "Authorization", value), "the Authorization header is not an AWS Signature Version 4"
        )


def test_any_changed_digit_is_refused() -> None:
    """A signature with any digit changed is refused."""
    request = sign()
    value = header(request, "Authorization")
    for at in range(len(value) - 64, len(value)):
        digit = "0" if value[at] != "0" else "1"
        refused(with_header(request, "Authorization", value[:at] + digit + value[at + 1 :]), MISMATCH)


def test_a_header_that_is_not_text_is_refused() -> None:
    refused(with_header(sign(), "X-Note", "\udcff"), "a header is not text")
    refused(with_header(sign(), "X-Amz-\u212a", "x"), "a header is not text")


def test_large_requests_are_refused_unhashed() -> None:
    """A request that is too large is refused before it is hashed."""
    refused(replace(sign(), body=bytes(MAX_BODY_BYTES + 1)), "the body is too large")
    refused(with_header(sign(), "X-Note", "x" * MAX_HEAD_CHARACTERS), "the headers are too large")


def test_no_secret_shows_in_what_is_printed() -> None:
    request = sign(key="ASIAROLE", token=SESSION_TOKEN)
    shown = repr(CREDENTIALS) + repr(request)
    signature = header(request, "Authorization").rpartition("=")[2]
    assert not [secret for secret in (SECRET, ROLE_SECRET, SESSION_TOKEN, signature) if secret in shown]


@pytest.mark.parametrize(
    "host", ["evil.example:8080", "evil.example", "localhost:8080.evil.example", "localhost:", "::1", ""]
)
def test_a_request_for_another_host_is_refused(host: str) -> None:
    """A request is accepted only if one of the broker's own hosts was signed."""
    refused(with_header(sign(), "Host", host), "signed for another host than this broker's")


@pytest.mark.parametrize("host", ["LocalHost:8080", "localhost", "localhost:9999", "[::1]:8080"])
def test_own_host(host: str) -> None:
    """Neither the case nor the port of the host's name matters: what decides is then the signature."""
    refused(with_header(sign(url="http://localhost:8080/admin/policy"), "Host", host), MISMATCH)
