"""What is checked before tokens are kept."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from keybroker.errors import IdentityError
from keybroker.http_client import Response
from keybroker.login.id_token import Login, read_login, renewed
from tests.login_issuer import CLIENT, LoginIssuer


def read(issuer: LoginIssuer, **members: Any) -> Login:  # noqa: ANN401  JSON
    given = {"id_token": issuer.id_token(), "refresh_token": "refresh-1", **members}
    return read_login(Response(200, {}, json.dumps(given).encode()), issuer.url, CLIENT, time.time())


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"iss": "https://evil.example"}, "is of another issuer"),
        ({"aud": "another"}, "is for another client, or for several"),
        ({"aud": [CLIENT, "another"]}, "is for another client, or for several"),
        ({"aud": None}, "is for another client"),
        ({"sub": ""}, "names no subject"),
        ({"sub": 7}, "names no subject"),
        ({"exp": 1}, "has expired already; check this machine's clock"),
        ({"exp": "never"}, "has expired already"),
        ({"exp": 10**400}, "has expired already"),
    ],
)
def test_what_the_broker_would_refuse_is_not_kept(issuer: LoginIssuer, claims: dict[str, Any], said: str) -> None:
    """An ID token that the broker would refuse is an error at the login, which says why."""
    with pytest.raises(IdentityError, match=said):
        read(issuer, id_token=issuer.id_token(**claims))


@pytest.mark.parametrize("token", [None, 7, "", "opaque", "a.b.c\x1b[2J"])
def test_no_id_token(issuer: LoginIssuer, token: object) -> None:
    """A response without an ID token is an error."""
    with pytest.raises(IdentityError, match=r"no ID token|is empty|is not an identity token"):
        read(issuer, id_token=token)


@pytest.mark.parametrize("token", [7, "r" * 20_000, "\ud800", "a\nb"])
def test_an_unusable_refresh_token(issuer: LoginIssuer, token: object) -> None:
    """A refresh token that cannot be kept or sent is an error at the login, not at the next refresh."""
    with pytest.raises(IdentityError, match="a refresh token that cannot be kept"):
        read(issuer, refresh_token=token)


def test_an_audience_may_be_a_list(issuer: LoginIssuer) -> None:
    """The audience may be a list with the client alone; without a refresh token there is none."""
    login = read(issuer, id_token=issuer.id_token(aud=[CLIENT]), refresh_token="")
    assert (login.client_id, login.refresh_token) == (CLIENT, "")


def test_a_refresh_keeps_what_is_not_replaced(issuer: LoginIssuer) -> None:
    """A refresh token stays where the issuer gives no new one."""
    old = read(issuer)
    answer = Response(200, {}, json.dumps({"id_token": issuer.id_token(lives=900)}).encode())
    new = renewed(old, answer, time.time())
    assert (new.refresh_token, new.id_token == old.id_token) == ("refresh-1", False)


def test_another_subject_is_not_taken_over(issuer: LoginIssuer) -> None:
    """A refresh that answers with another person's token is refused."""
    answer = Response(200, {}, json.dumps({"id_token": issuer.id_token(sub="mallory")}).encode())
    with pytest.raises(IdentityError, match="another person's ID token"):
        renewed(read(issuer), answer, time.time())


def test_a_login_shows_no_token(issuer: LoginIssuer) -> None:
    """A login's repr has no token."""
    assert repr(read(issuer)) == f"Login(issuer='{issuer.url}', client_id='{CLIENT}')"
