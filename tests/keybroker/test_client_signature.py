"""AWS principals: their requests are signed, at a running broker; and AWS's own identity tokens, from a server like STS."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest

from keybroker import IdentityError, NoIdentity, Refused, TokenProvider, exchange_signature, find_identity
from keybroker.ambient import Identity
from tests.parts import claims_of
from tests.running import Running, start
from tests.scripted_broker import dropped, good, in_turn, jwt, scripted

ROLE = "arn:aws:iam::000000000000:role/practice-role"
POLICY = f"""\
keys:
  openai: {{provider: openai}}
grants:
  service:
    key: openai
    to: {{aws: "{ROLE}"}}
    scope: ["POST:/v1/chat/completions"]
    quota: {{tokens: 10000/hour, calls: 10000/minute}}
"""


@pytest.fixture(scope="module")
def broker() -> Iterator[Running]:
    with start(policy=POLICY) as one:
        yield one


@pytest.fixture
def role(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIAMADEUP")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "made-up")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")


@pytest.fixture
def practice_role(broker: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    one = json.loads((broker.state / "aws-callers.json").read_text())[0]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", one["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", one["secret_access_key"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", one["session_token"])


# Signed requests


@pytest.mark.usefixtures("practice_role")
def test_a_role_gets_a_token(broker: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """An AWS role gets a token, and calls with it."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    provider = TokenProvider("openai", broker.broker)
    assert broker.complete(provider()).status == 200
    assert claims_of(provider())["sub"] == ROLE


@pytest.mark.usefixtures("practice_role")
def test_the_region_can_be_given(broker: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker's region can be given."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert exchange_signature(broker.broker, "openai", grant="service", region="us-east-1").expires_in == 900
    assert broker.complete(TokenProvider("openai", broker.broker, region="us-east-1")()).status == 200
    with pytest.raises(Refused) as caught:
        exchange_signature(broker.broker, "openai")
    assert caught.value.status == 403


@pytest.mark.usefixtures("role")
def test_a_retry_is_signed_anew() -> None:
    """A retry is signed anew, with the same idempotency key."""
    with scripted(in_turn(dropped, good)) as one:
        TokenProvider("openai", one.url)()
    assert [asked.path for asked in one.asked] == ["/token/iam"] * 2
    assert len({asked.headers["idempotency-key"] for asked in one.asked}) == 1
    for asked in one.asked:
        assert "subject_token" not in asked.form
        assert "/eu-central-1/execute-api/" in asked.headers["authorization"]
        assert asked.headers["content-type"] == "application/x-www-form-urlencoded"


def test_without_aws_credentials_it_says_so() -> None:
    """Without AWS credentials the error says so."""
    with pytest.raises(NoIdentity, match="AWS"):
        exchange_signature("http://127.0.0.1:1", "openai")


# AWS's own identity tokens


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A server like STS. Yields what it answers, `code` for an error and `token` for a token, and was `asked`."""
    said: dict[str, str] = {"code": "", "token": jwt(aud="keybroker")}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said["asked"] = self.rfile.read(int(self.headers["content-length"])).decode()
            ok = f"<GetWebIdentityTokenResponse><GetWebIdentityTokenResult><WebIdentityToken>{said['token']}</WebIdentityToken></GetWebIdentityTokenResult></GetWebIdentityTokenResponse>"
            no = f"<ErrorResponse><Error><Code>{said['code']}</Code><Message>no</Message></Error></ErrorResponse>"
            body = (no if said["code"] else ok).encode()
            self.send_response(400 if said["code"] else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("KEYBROKER_IDENTITY", "aws-web-identity")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield said
        server.shutdown()
        thread.join(10)


@pytest.mark.usefixtures("role")
def test_sts_is_asked_for_our_audience(sts: dict[str, str]) -> None:
    """AWS STS is asked for a token with our audience."""
    assert find_identity("keybroker") == Identity("aws-web-identity", sts["token"])
    asked = {name: values[0] for name, values in parse_qs(sts["asked"]).items()}
    assert asked["Action"] == "GetWebIdentityToken"
    assert asked["Audience.member.1"] == "keybroker"
    assert (asked["SigningAlgorithm"], asked["DurationSeconds"]) == ("ES384", "300")


@pytest.mark.slow
@pytest.mark.usefixtures("role")
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("OutboundWebIdentityFederationDisabledException", "aws iam enable-outbound-web-identity-federation"),
        ("AccessDenied", "allow the role sts:GetWebIdentityToken"),
        ("Throttling", "STS issued no identity token"),
    ],
)
def test_an_sts_refusal_says_what_to_do(sts: dict[str, str], code: str, said: str) -> None:
    """A refusal by AWS STS says what to do."""
    sts["code"] = code
    with pytest.raises(IdentityError, match=f"{code}.*") as caught:
        find_identity()
    assert said in str(caught.value)


@pytest.mark.usefixtures("sts")
def test_without_credentials_sts_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials AWS STS is not asked."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    with pytest.raises(IdentityError, match="credentials"):
        find_identity()
