from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from keybroker import aws
from keybroker.errors import IdentityError, NoIdentity, NotConfigured
from local.simulator.sigv4 import Caller, Credential, InvalidSignatureError, SignedRequest, verify

CALLER = Caller("AKIDUSER", "123456789012", "arn:aws:iam::123456789012:user/ada", "AIDAADA")
SECRET = "practice-secret"
KNOWN = {"AKIDUSER": Credential(SECRET, CALLER)}
URL = "http://127.0.0.1:8080/admin/audit?kind=key.set&principal=https%3A%2F%2Fci.example%7Crepository_id%3A1"
HOSTS = (urlsplit(URL).hostname or "",)
API = "https://abc123.execute-api.eu-west-1.amazonaws.com/api/token/iam"


@pytest.fixture(autouse=True)
def aws_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have AWS tools look for their files in the test's own folder."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDUSER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def arrived(method: str, url: str, headers: dict[str, str], body: bytes) -> SignedRequest:
    where = urlsplit(url)
    target = where.path + (f"?{where.query}" if where.query else "")
    return SignedRequest(method, target, (("Host", where.netloc), *headers.items()), body)


def now() -> int:
    return int(datetime.now(UTC).timestamp())


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(("method", "body"), [("GET", b""), ("POST", b'{"a": 1}'), ("PUT", b"\0\xff"), ("DELETE", b"")])
def test_a_signature_is_one_that_aws_accepts(method: str, body: bytes) -> None:
    """A signature is the one that AWS's own rules give."""
    signed = aws.sign(method, URL, {"content-type": "application/json"}, body, "us-east-1")
    assert signed["content-type"] == "application/json"
    assert verify(arrived(method, URL, signed, body), KNOWN, region="us-east-1", hosts=HOSTS, now=now()) == CALLER
    with pytest.raises(InvalidSignatureError):
        verify(arrived(method, URL, signed, body + b"x"), KNOWN, region="us-east-1", hosts=HOSTS, now=now())


@pytest.mark.usefixtures("keys")
def test_session_tokens_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary credentials send their session token."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "practice/token==")
    signed = aws.sign("POST", API, {}, b"")
    assert signed["X-Amz-Security-Token"] == "practice/token=="
    assert SECRET not in str(signed)


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("abc.execute-api.eu-west-1.amazonaws.com", "eu-west-1"),
        ("abc-vpce-01.execute-api.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
        ("abc.execute-api.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("broker.example", "ap-south-1"),
    ],
)
def test_the_region_is_the_apis_own(monkeypatch: pytest.MonkeyPatch, host: str, region: str) -> None:
    """The region is the API's own, or else the environment's."""
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    signed = aws.sign("GET", f"https://{host}/x", {}, b"")
    assert f"/{region}/execute-api/aws4_request" in signed["Authorization"]
    given = aws.sign("GET", f"https://{host}/x", {}, b"", "us-west-2")
    assert "/us-west-2/execute-api/aws4_request" in given["Authorization"]


@pytest.mark.usefixtures("keys")
def test_the_region_may_be_a_profiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The region may be the default one or a profile's."""
    (tmp_path / "config").write_text("[default]\nregion = eu-north-1\n")
    assert "/eu-north-1/" in aws.sign("GET", "https://broker.example/x", {}, b"")["Authorization"]
    aws._chain.cache_clear()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    assert "/eu-west-3/" in aws.sign("GET", "https://broker.example/x", {}, b"")["Authorization"]


@pytest.mark.usefixtures("keys")
def test_an_unknown_region_is_an_error() -> None:
    """A region that nothing names is an error."""
    with pytest.raises(NotConfigured, match="set AWS_REGION"):
        aws.sign("GET", "https://broker.example/x", {}, b"")


def test_a_profiles_credentials_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A profile's credentials are found."""
    text = f"[work]\naws_access_key_id = AKIDUSER\naws_secret_access_key = {SECRET}\n"
    (tmp_path / "credentials").write_text(text)
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert "Credential=AKIDUSER/" in aws.sign("GET", API, {}, b"")["Authorization"]


def test_no_credentials_are_no_identity() -> None:
    """Without credentials there is no identity."""
    with pytest.raises(NoIdentity, match="set AWS_PROFILE"):
        aws.sign("GET", API, {}, b"")


def test_unusable_credentials_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unusable credentials are an error that names the cause."""
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    with pytest.raises(IdentityError, match="nowhere"):
        aws.sign("GET", API, {}, b"")


def test_without_botocore_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without botocore the error says what to install."""
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    with pytest.raises(IdentityError, match=r"pip install 'botocore>=1\.44,<2'"):
        aws.sign("GET", API, {}, b"")
