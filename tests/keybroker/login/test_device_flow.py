"""The device flow at an issuer over real sockets: each answer of RFC 8628, and when the next request is due."""

from __future__ import annotations

import pytest

from keybroker.errors import IdentityError, NotConfigured, Unreachable
from keybroker.json_object import read_json_object
from keybroker.login import device_flow
from keybroker.login.issuer import discover
from tests.login_issuer import CLIENT, PENDING, Answer, LoginIssuer


class Clock:
    """Time that passes only while something sleeps."""

    def __init__(self) -> None:
        self.at = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


def log_in(issuer: LoginIssuer, *answers: Answer) -> tuple[Clock, str]:
    """Run the flow with these answers before the tokens; return its clock and the ID token."""
    issuer.answers += answers
    clock, endpoints = Clock(), discover(issuer.url)
    codes = device_flow.begin(endpoints, CLIENT)
    response = device_flow.wait(endpoints, CLIENT, codes, clock.sleep, clock.now)
    return clock, str(read_json_object(response.body)["id_token"])


def refused(error: str, status: int = 400, description: str = "") -> Answer:
    return status, {"error": error, "error_description": description}


def test_pending_is_asked_again(issuer: LoginIssuer) -> None:
    """While the person has not confirmed, the token endpoint is asked at the issuer's interval."""
    clock, token = log_in(issuer, PENDING, PENDING)
    assert (clock.slept, token) == ([5, 5, 5], issuer.id_token())
    assert issuer.asked[0] == (
        "/device/auth",
        {"client_id": CLIENT, "scope": "openid offline_access", "prompt": "consent"},
    )
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    form = {"grant_type": grant, "device_code": "device-code-made-up", "client_id": CLIENT}
    assert issuer.asked[1:] == [("/token", form)] * 3


def test_slow_down_lengthens_the_interval(issuer: LoginIssuer) -> None:
    """`slow_down` lengthens the interval by five seconds, for good."""
    clock, _ = log_in(issuer, refused("slow_down"), PENDING, refused("slow_down"))
    assert clock.slept == [5, 10, 10, 15]


@pytest.mark.parametrize("failure", [None, (503, {}), refused("slow", 429)])
def test_a_failing_issuer_is_asked_less_often(issuer: LoginIssuer, failure: Answer) -> None:
    """After no response, or one that says later, the interval doubles (RFC 8628 section 3.5)."""
    clock, _ = log_in(issuer, failure, failure, PENDING)
    assert clock.slept == [5, 10, 20, 20]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("access_denied", "the login was denied in the browser"),
        ("expired_token", "the code was not confirmed in time; run keybroker login again"),
        ("invalid_client", r"refused: invalid_client: why\n.* must be of a public client"),
        ("unauthorized_client", r"refused: unauthorized_client: why\n.* that may use the device flow"),
        ("invalid_grant", r"127.0.0.1:\d+ refused: invalid_grant: why$"),
        ("", r"refused: why"),
    ],
)
def test_a_refusal_ends_it(issuer: LoginIssuer, error: str, said: str) -> None:
    """Every other error ends the login at once, and the person learns why."""
    with pytest.raises(IdentityError, match=said):
        log_in(issuer, PENDING, refused(error, 400, "why"))
    assert len(issuer.asked) == 3


def test_the_code_expires(issuer: LoginIssuer) -> None:
    """Once the code has expired, the issuer is not asked any more, whatever it says."""
    issuer.codes["expires_in"] = 12
    with pytest.raises(IdentityError, match="not confirmed in time"):
        log_in(issuer, *[PENDING] * 9)
    assert len(issuer.asked) == 3


def test_an_issuer_that_is_gone_is_named(issuer: LoginIssuer) -> None:
    """Where the issuer gives no response to the end, that is the error."""
    issuer.codes["expires_in"] = 20
    with pytest.raises(Unreachable, match=r"cannot reach 127\.0\.0\.1"):
        log_in(issuer, *[None] * 9)


@pytest.mark.parametrize(
    ("given", "used"), [(0, 1), (None, 5), (-3, 1), (10**400, 60), ("7", 5), (7.5, 7.5), (float("nan"), 1)]
)
def test_the_interval_has_bounds(issuer: LoginIssuer, given: object, used: float) -> None:
    """The interval is the issuer's, within bounds; 5 s where it names none."""
    issuer.codes["interval"] = given
    assert device_flow.begin(discover(issuer.url), CLIENT).interval == used


def test_a_code_without_an_end(issuer: LoginIssuer) -> None:
    """A code whose end the issuer does not name is waited for ten minutes."""
    del issuer.codes["expires_in"]
    assert device_flow.begin(discover(issuer.url), CLIENT).expires_in == 600


def test_no_offline_access(issuer: LoginIssuer) -> None:
    """An issuer that does not know offline access, or refuses it to the client, is asked without it."""
    issuer.refused_scope = "openid offline_access"
    log_in(issuer)
    assert issuer.asked[1] == ("/device/auth", {"client_id": CLIENT, "scope": "openid"})
    issuer.asked.clear()
    issuer.discovery["scopes_supported"] = ["openid"]
    log_in(issuer)
    assert issuer.asked[0][1]["scope"] == "openid"
    issuer.refused_scope = "openid"
    with pytest.raises(IdentityError, match="refused: invalid_scope"):
        log_in(issuer)


@pytest.mark.parametrize("missing", ["device_authorization_endpoint", "token_endpoint"])
def test_no_device_flow(issuer: LoginIssuer, missing: str) -> None:
    """An issuer without the device flow is said to have none."""
    del issuer.discovery[missing]
    with pytest.raises(IdentityError, match="does not offer the device flow"):
        log_in(issuer)


@pytest.mark.parametrize("name", ["verification_uri", "verification_uri_complete"])
@pytest.mark.parametrize("url", ["http://login.example/device", "javascript:alert(1)", "file:///etc/passwd"])
def test_a_page_in_the_clear_is_not_shown(issuer: LoginIssuer, name: str, url: str) -> None:
    """A person is sent to https only, or to this machine."""
    issuer.codes[name] = url
    with pytest.raises(NotConfigured, match="verification_uri must start with https"):
        log_in(issuer)


@pytest.mark.parametrize("name", ["device_code", "user_code", "verification_uri"])
@pytest.mark.parametrize("value", ["", None, 5, "\n"])
def test_no_code_to_confirm(issuer: LoginIssuer, name: str, value: object) -> None:
    """An answer without a code or a page is an error."""
    issuer.codes[name] = value
    with pytest.raises(IdentityError, match="no code to confirm"):
        log_in(issuer)


@pytest.mark.parametrize("name", ["device_code", "verification_uri"])
@pytest.mark.parametrize("character", ["\x1b[31m", "\u2028", "\ud800", "é", " "])
def test_what_cannot_be_sent_or_shown(issuer: LoginIssuer, name: str, character: str) -> None:
    """A page or a device code with other characters than RFC 3986 and RFC 6749 allow is an error."""
    issuer.codes[name] = f"{issuer.url}/{character}"
    with pytest.raises(IdentityError, match="no code to confirm"):
        log_in(issuer)


def test_the_codes_show_no_device_code(issuer: LoginIssuer) -> None:
    """The device code, which gets the tokens, is in no repr."""
    assert "made-up" not in repr(device_flow.begin(discover(issuer.url), CLIENT))
