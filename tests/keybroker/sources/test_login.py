"""A person's login as an identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from keybroker import IdentityError
from keybroker.login import store
from keybroker.login.id_token import Login
from keybroker.sources import login
from keybroker.sources.identity_request import IdentityRequest
from tests.scripted_broker import jwt


def find(tmp_path: Path, issuer: str, exp: int) -> str | None:
    folder = tmp_path / "keybroker"
    with store.locked(folder):
        store.save(folder, Login(issuer, "client", jwt(aud="client", exp=exp), "refresh-0"))
    return login.find(IdentityRequest("keybroker", {"XDG_STATE_HOME": str(tmp_path)}))


def test_its_audience_is_the_client(tmp_path: Path) -> None:
    """The token is the login's, whatever audience is asked for."""
    assert find(tmp_path, "https://login.example", 2**32) == jwt(aud="client", exp=2**32)


def test_absent_without_a_home() -> None:
    """Without a home folder, or a file in it, there is no login."""
    assert login.find(IdentityRequest("keybroker", {})) is None
    assert login.find(IdentityRequest("keybroker", {"HOME": "/nonexistent"})) is None


def test_an_issuer_in_the_clear_gets_no_refresh_token(tmp_path: Path) -> None:
    """A stored issuer in the clear gets no refresh token: the login is broken, and says why."""
    with pytest.raises(IdentityError, match="must start with https://"):
        find(tmp_path, "http://login.example", 1)
