"""What is believed of an issuer's discovery document, and where tokens go."""

from __future__ import annotations

import pytest

from keybroker.errors import IdentityError, NotConfigured, Unreachable
from keybroker.login.issuer import check_endpoint, check_issuer, discover
from tests.login_issuer import LoginIssuer


@pytest.mark.parametrize("claimed", ["https://evil.example", None, 7])
def test_another_issuers_document(issuer: LoginIssuer, claimed: object) -> None:
    """A document of another issuer is refused, and that issuer named."""
    issuer.discovery["issuer"] = claimed
    with pytest.raises(IdentityError, match=f"is the document of '{claimed}'"):
        discover(issuer.url)


def test_no_document(issuer: LoginIssuer) -> None:
    """What is no discovery document is said to be none."""
    with pytest.raises(IdentityError, match="is not a discovery document"):
        discover(f"{issuer.url}/realm")


def test_a_failing_issuer_is_no_other_issuer(issuer: LoginIssuer) -> None:
    """A discovery that fails for a moment is not blamed on the URL; one that is malformed is."""
    issuer.document = (503, {})
    with pytest.raises(Unreachable, match=r"openid-configuration answers with HTTP 503"):
        discover(issuer.url)
    issuer.document = (200, {"issuer": issuer.url, "token_endpoint": 7})
    with pytest.raises(IdentityError, match="has no usable token_endpoint"):
        discover(issuer.url)


@pytest.mark.parametrize("name", ["device_authorization_endpoint", "token_endpoint", "revocation_endpoint"])
@pytest.mark.parametrize("url", ["http://login.example/token", "ftp://login.example/", "https://a@login.example/"])
def test_an_unusable_endpoint(issuer: LoginIssuer, name: str, url: str) -> None:
    """An endpoint that no secret may be sent to is refused before anything is sent."""
    issuer.discovery[name] = url
    with pytest.raises(NotConfigured, match=name):
        discover(issuer.url)
    assert issuer.asked == []


def test_an_endpoint_in_the_clear_is_refused() -> None:
    """An issuer elsewhere cannot name an endpoint in the clear, on this machine either."""
    with pytest.raises(NotConfigured, match="the token_endpoint must start with https"):
        check_endpoint("http://127.0.0.1:8080/token", "https://login.example", "token_endpoint")
    check_endpoint("https://other.example/token?p=1", "https://login.example", "token_endpoint")


@pytest.mark.parametrize(
    "url", ["http://login.example", "login.example", "https://login.example/?a=1", "https://login.example#a"]
)
def test_an_issuers_url(url: str) -> None:
    """An issuer's URL is https, or this machine's, without query and fragment."""
    with pytest.raises(NotConfigured, match="issuer's URL must"):
        check_issuer(url)
