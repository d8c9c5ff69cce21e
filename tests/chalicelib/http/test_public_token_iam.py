from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode, urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local import secret_file
from tests.parts import claims_of
from tests.running import Answer, Running, call, start

ROLE = "arn:aws:iam::000000000000:role/practice-role"
POLICY = f"""\
keys:
  openai: {{provider: openai}}
issuers:
  practice: {{preset: practice, audience: keybroker}}
grants:
  service:
    key: openai
    to: {{aws: "{ROLE}"}}
    scope: ["POST:/v1/chat/completions"]
    quota: {{tokens: 10000/hour, calls: 10000/minute}}
  ci:
    key: openai
    to: {{issuer: practice, claims: {{repository_owner_id: "9919"}}}}
    scope: ["POST:/v1/chat/completions"]
    quota: {{tokens: 10000/hour, calls: 10000/minute}}
"""
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with start(policy=POLICY) as one:
        yield one


@dataclass(frozen=True)
class Signer:
    """One key that signs, as botocore does it."""

    access_key_id: str
    secret: str
    session_token: str | None
    region: str = "us-east-1"
    service: str = "execute-api"

    def headers(self, method: str, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the headers of a signed request."""
        request = AWSRequest(method, url, data=body, headers=dict(headers or {"content-type": JSON}))
        keys = Credentials(self.access_key_id, self.secret, self.session_token)
        SigV4Auth(keys, self.service, self.region).add_auth(request)
        return dict(request.headers)


def caller(running: Running) -> Signer:
    """The practice caller, from the file that a user reads it from."""
    one = json.loads((running.state / "aws-callers.json").read_text())[0]
    return Signer(one["access_key_id"], one["secret_access_key"], one["session_token"])


def admin(running: Running) -> Signer:
    return Signer(running.admin["access_key_id"], running.admin["secret_access_key"], None)


def ask(running: Running, signer: Signer, body: object = None, kind: str = JSON) -> Answer:
    """Ask for a token, signed. body: fields, in the form that `kind` says."""
    fields = {"audience": "openai"} if body is None else body
    data = urlencode(fields).encode() if kind == FORM else json.dumps(fields).encode()  # type: ignore[arg-type]  # a form's fields are a mapping
    url = f"{running.broker}/token/iam"
    return call("POST", url, data, signer.headers("POST", url, data, {"content-type": kind}))


def forbidden(answer: Answer) -> str:
    """Return why, of a signature that was not taken; nothing else is answered."""
    assert (answer.status, answer.json["error"]) == (403, "access_denied"), answer
    assert set(answer.json) == {"error", "error_description", "request_id"}
    return str(answer.json["error_description"])


@pytest.mark.parametrize("kind", [JSON, FORM])
def test_signed_request(running: Running, kind: str) -> None:
    """A signed request gets a token for the role that works at the edge."""
    answer = ask(running, caller(running), kind=kind)
    assert answer.status == 200, answer
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json
    assert (body["token_type"], body["base_url"]) == ("Bearer", f"{running.edge}/openai/v1")
    claims = claims_of(body["access_token"])
    assert (claims["sub"], claims["idp"], claims["grant"], claims["aud"]) == (ROLE, "aws", "service", "openai")
    assert running.complete(body["access_token"]).status == 200


def test_iam_audit(running: Running) -> None:
    """The audit names the role and its unique id."""
    request_id = ask(running, caller(running)).headers["x-request-id"]
    [event] = running.administer("GET", f"/admin/audit?request_id={request_id}").json["items"]
    assert (event["kind"], event["principal"], event["issuer"]) == ("token.issued", ROLE, "aws")
    assert event["detail"]["unique_id"] == "AROAPRACTICEROLE00001"


def test_iam_parameters(running: Running) -> None:
    """The grant type can be sent and the scope narrowed."""
    fields = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": "openai",
        "grant": "service",
        "scope": "POST:/v1/chat/completions",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
    }
    assert ask(running, caller(running), fields, FORM).json["scope"] == "POST:/v1/chat/completions"


def test_caller_files_are_private(running: Running) -> None:
    """The files with callers' secrets are readable by their owner only."""
    assert (running.state / "aws-callers.json").stat().st_mode & 0o777 == 0o600
    assert (running.state / "admin.json").stat().st_mode & 0o777 == 0o600


def test_admin_has_no_grant(running: Running) -> None:
    """The administrator has no grant."""
    answer = ask(running, admin(running))
    assert (answer.status, answer.json["error"]) == (400, "invalid_target")
    assert ROLE not in answer.json["error_description"]


@pytest.mark.parametrize("name", ["subject_token", "assertion"])
@pytest.mark.parametrize("kind", [JSON, FORM])
def test_iam_subject_token(running: Running, name: str, kind: str) -> None:
    """A subject token beside a signature is refused."""
    answer = ask(running, caller(running), {"audience": "openai", name: running.mint("8801")}, kind)
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")
    assert answer.json["error_description"] == "the identity is the signature's; send no subject token"


def test_iam_grant_type(running: Running) -> None:
    """Any other grant type is refused."""
    fields = {"audience": "openai", "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}
    answer = ask(running, caller(running), fields)
    assert (answer.status, answer.json["error"]) == (400, "unsupported_grant_type")
    assert "jwt-bearer" not in answer.json["error_description"]


def test_iam_audience(running: Running) -> None:
    """The audience is required."""
    answer = ask(running, caller(running), {})
    assert (answer.status, answer.json["error_description"]) == (400, "audience is missing")


def test_iam_unsigned(running: Running) -> None:
    """An unsigned request is a 403."""
    answer = call("POST", f"{running.broker}/token/iam", {"audience": "openai"})
    assert forbidden(answer) == "the request is not signed"


def test_bearer_is_not_a_signature(running: Running) -> None:
    """A bearer token is not a signature."""
    headers = {"authorization": f"Bearer {running.token('8802')}"}
    answer = call("POST", f"{running.broker}/token/iam", {"audience": "openai"}, headers)
    assert forbidden(answer) == "the Authorization header is not an AWS Signature Version 4"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"access_key_id": "ASIAUNKNOWN"}, "the access key is unknown"),
        ({"secret": "another"}, "the signature does not match the request"),
        ({"session_token": None}, "the session token does not belong to the access key"),
        ({"session_token": "another"}, "the session token does not belong to the access key"),
        ({"region": "eu-west-1"}, "signed for another region"),
        ({"service": "sts"}, "signed for another service"),
    ],
)
def test_wrong_signature(running: Running, change: dict[str, str | None], reason: str) -> None:
    """A request signed with the wrong key, region or service is a 403."""
    one = caller(running)
    fields = {"access_key_id": one.access_key_id, "secret": one.secret, "session_token": one.session_token}
    assert forbidden(ask(running, Signer(**{**fields, **change}))) == reason  # type: ignore[arg-type]  # names of Signer's own fields


def test_mixed_credentials(running: Running) -> None:
    """The administrator's secret under the caller's key id is a 403."""
    one = caller(running)
    mixed = Signer(one.access_key_id, running.admin["secret_access_key"], one.session_token)
    assert forbidden(ask(running, mixed)) == "the signature does not match the request"


@dataclass(frozen=True)
class Tampering:
    """What is changed of a signed request on its way."""

    reason: str
    body: bytes = b'{"audience": "openai"}'
    path: str = "/token/iam"
    set: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    swap: tuple[str, str] = ("", "")  # in the Authorization header


TAMPERED = {
    "body": Tampering("the signature does not match the request", body=b'{"audience": "other!"}'),
    "query": Tampering("the signature does not match the request", path="/token/iam?grant=ci"),
    "content type": Tampering("the signature does not match the request", set={"content-type": FORM}),
    "date": Tampering("x-amz-date is too far from now", set={"X-Amz-Date": "301 s off"}),
    "date in the window": Tampering("the signature does not match the request", set={"X-Amz-Date": "60 s off"}),
    "date gone": Tampering("x-amz-date is missing", drop=("X-Amz-Date",)),
    "date that is none": Tampering("x-amz-date is not on the day of the credential scope", set={"X-Amz-Date": "today"}),
    "session token gone": Tampering("a signed header is missing", drop=("X-Amz-Security-Token",)),
    "session token": Tampering(
        "the session token does not belong to the access key", set={"X-Amz-Security-Token": "another"}
    ),
    "one more header of Amazon's": Tampering("an x-amz- header is not signed", set={"x-amz-target": "a"}),
    "hash of another body": Tampering("an x-amz- header is not signed", set={"x-amz-content-sha256": "0" * 64}),
    "host": Tampering("signed for another host than this broker's", set={"host": "broker.example"}),
    "host unsigned": Tampering("host is not signed", swap=("host;", "")),
    "fewer headers signed": Tampering("the signature does not match the request", swap=("content-type;", "")),
    "region": Tampering("signed for another region", swap=("/us-east-1/", "/eu-west-1/")),
    "service": Tampering("signed for another service", swap=("/execute-api/", "/sts/")),
    "day": Tampering("x-amz-date is not on the day of the credential scope", swap=("/20", "/19")),
    "key": Tampering("the access key is unknown", swap=("Credential=ASIA", "Credential=AKIA")),
    "algorithm": Tampering(
        "the Authorization header is not an AWS Signature Version 4", swap=("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1")
    ),
    "signature": Tampering(
        "the Authorization header is not an AWS Signature Version 4", swap=("Signature=", "Signature=0")
    ),
}


@pytest.mark.parametrize("name", list(TAMPERED))
def test_tampered_request(running: Running, name: str) -> None:
    """A request that was changed after it was signed is a 403."""
    change = TAMPERED[name]
    headers = caller(running).headers("POST", f"{running.broker}/token/iam", b'{"audience": "openai"}')
    for header, value in change.set.items():
        headers[header] = moved(int(value.split()[0])) if value.endswith(" s off") else value
    headers = {one: value for one, value in headers.items() if one not in change.drop}
    if change.swap[0]:
        assert change.swap[0] in headers["Authorization"]
        headers["Authorization"] = headers["Authorization"].replace(*change.swap, 1)
    assert forbidden(post(running, change.path, change.body, headers)) == change.reason


def moved(seconds: int) -> str:
    """A time off the present one by so many seconds, on the same day."""
    now = time.time()
    off = seconds if time.gmtime(now + seconds)[:3] == time.gmtime(now)[:3] else -seconds
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now + off))


def post(running: Running, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send exactly these headers; urllib would set some of its own."""
    connection = http.client.HTTPConnection(urlsplit(running.broker).netloc, timeout=20)
    try:
        named = {name.lower() for name in headers}
        connection.putrequest("POST", path, skip_host="host" in named, skip_accept_encoding=True)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


def test_signature_is_per_path(running: Running) -> None:
    """A signature for one path is refused at another."""
    url = f"{running.broker}/token"
    headers = caller(running).headers("POST", url, b'{"audience": "openai"}')
    answer = post(running, "/token/iam", b'{"audience": "openai"}', headers)
    assert forbidden(answer) == "the signature does not match the request"


def test_query_signature(running: Running) -> None:
    """A signature in the query is refused."""
    query = urlencode({"X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Signature": "0" * 64})
    headers = caller(running).headers("POST", f"{running.broker}/token/iam?{query}", b"{}")
    answer = post(running, f"/token/iam?{query}", b"{}", headers)
    assert forbidden(answer) == "a signature in the query is not accepted"


def test_iam_replay(running: Running) -> None:
    """SigV4 has no nonce: inside its window a request can be sent again, and the quota bounds what that gives."""
    headers = caller(running).headers("POST", f"{running.broker}/token/iam", b'{"audience": "openai"}')
    answers = [post(running, "/token/iam", b'{"audience": "openai"}', headers) for _ in range(2)]
    assert [one.status for one in answers] == [200, 200]
    assert len({claims_of(one.json["access_token"])["jti"] for one in answers}) == 2


def test_iam_idempotent(running: Running) -> None:
    """With an Idempotency-Key, the same signed request twice is one token."""
    key = {"content-type": JSON, "idempotency-key": base64.b64encode(b"0123456789abcdef0123456789").decode()}
    url = f"{running.broker}/token/iam"
    headers = caller(running).headers("POST", url, b'{"audience": "openai"}', key)
    answers = [post(running, "/token/iam", b'{"audience": "openai"}', headers) for _ in range(2)]
    assert [one.status for one in answers] == [200, 200]
    assert len({claims_of(one.json["access_token"])["jti"] for one in answers}) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/audit"),
        ("GET", "/admin/policy"),
        ("PUT", "/admin/policy"),
        ("POST", "/admin/policy/plan"),
        ("POST", "/admin/revocations"),
        ("DELETE", "/admin/revocations/x"),
        ("POST", f"/admin/principals/{quote(ROLE, safe='')}/pin"),
    ],
)
def test_caller_is_not_admin(running: Running, method: str, path: str) -> None:
    """A caller that may get tokens may not administer."""
    url = f"{running.broker}{path}"
    headers = caller(running).headers(method, url, b"{}")
    answer = call(method, url, b"{}", headers)
    assert (answer.status, answer.json["title"], answer.json["detail"]) == (
        403,
        "Forbidden",
        "this caller may not call the admin API",
    )


def test_recreated_role(running: Running) -> None:
    """A recreated role is refused until an administrator pins it again."""
    path = running.state / "aws-callers.json"
    before = path.read_text()
    assert ask(running, caller(running)).status == 200
    again = json.loads(before)
    again[0]["user_id"] = "AROAPRACTICEROLE00002:session-1"
    try:
        secret_file.write(path, json.dumps(again))
        refused = ask(running, caller(running))
        assert (refused.status, refused.json["error"]) == (400, "invalid_grant")
        found = running.administer("GET", f"/admin/audit?request_id={refused.headers['x-request-id']}").json["items"]
        assert [(one["reason"], one["detail"]) for one in found] == [
            ("identity_changed", {"unique_id": "AROAPRACTICEROLE00002"})
        ]
        pin = f"/admin/principals/{quote(ROLE, safe='')}/pin"
        answer = running.administer("POST", pin, {"unique_id": found[0]["detail"]["unique_id"]})
        assert (answer.status, answer.json) == (200, {"principal": ROLE, "unique_id": "AROAPRACTICEROLE00002"})
        assert ask(running, caller(running)).status == 200
        pinned = running.administer("GET", f"/admin/audit?kind=principal.pinned&principal={quote(ROLE, safe='')}")
        assert pinned.json["items"][0]["actor"] == "arn:aws:iam::000000000000:user/practice-admin"
    finally:
        secret_file.write(path, before)
        running.administer(
            "POST", f"/admin/principals/{quote(ROLE, safe='')}/pin", {"unique_id": "AROAPRACTICEROLE00001"}
        )
    assert ask(running, caller(running)).status == 200


def test_revoked_role(running: Running) -> None:
    """A revoked role is refused at the next call."""
    token = str(ask(running, caller(running)).json["access_token"])
    revocation = running.revoke("principal", ROLE)
    try:
        refused = running.complete(token)
        assert (refused.status, refused.json["error"]["code"]) == (403, "revoked")
        assert ask(running, caller(running)).json["error"] == "invalid_grant"
    finally:
        assert running.administer("DELETE", f"/admin/revocations/{revocation}").status == 200
    assert running.complete(token).status == 401
    assert running.complete(str(ask(running, caller(running)).json["access_token"])).status == 200
