"""Which source is taken: the order, the choice by name, and what is said where there is none."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from keybroker import IdentityError, KeybrokerError, NoIdentity, ambient, find_identity
from keybroker.ambient import AWS_SIGV4, ON_REQUEST, SOURCES, Identity
from keybroker.login import store
from keybroker.login.id_token import Login
from tests.scripted_broker import jwt

TOKEN = jwt(aud="keybroker")
PARTS = {"__init__", "identity_request", "command", "retry", "token_text"}
"""Modules that sources are made of."""


def test_no_identity_lists_the_sources() -> None:
    """Where no identity is found, the error lists the sources that were tried."""
    with pytest.raises(NoIdentity) as caught:
        find_identity(environ={})
    lines = str(caught.value).splitlines()
    assert lines[0] == "no workload identity found; tried:"
    assert lines[1:] == [f"  {what}" for _, what in SOURCES.values()]


def test_every_source_has_its_module() -> None:
    """Every source has a module, and every module is a source."""
    folder = Path(ambient.__file__).parent / "sources"
    named = {module for module, _ in (*SOURCES.values(), *ON_REQUEST.values())}
    assert named == {path.stem for path in folder.glob("*.py")} - PARTS
    for module in named:
        assert callable(import_module(f"keybroker.sources.{module}").find)


def test_sources_are_tried_in_order(tmp_path: Path) -> None:
    """What was set on purpose comes before the CI, and the CI before the machine."""
    (tmp_path / "token").write_text(TOKEN)
    environ = {"GCE_METADATA_HOST": "127.0.0.1:1", "GITLAB_CI": "true", "MINE_ID_TOKEN": jwt(aud="mine")}
    assert find_identity("mine", environ).source == "gitlab"
    environ["KEYBROKER_ID_TOKEN_FILE"] = str(tmp_path / "token")
    assert find_identity("mine", environ) == Identity("token-file", TOKEN)


def test_a_login_comes_before_the_machine(tmp_path: Path) -> None:
    """A person's login comes after what was set on purpose and after the CI, and before the machine's own identity."""
    names = list(SOURCES)
    assert names.index("kubernetes") < names.index("login") < names.index("google") < names.index(AWS_SIGV4)
    token = jwt(aud="client", exp=2**32)
    with store.locked(tmp_path / "keybroker"):
        store.save(tmp_path / "keybroker", Login("https://login.example", "client", token, ""))
    environ = {"XDG_STATE_HOME": str(tmp_path), "GCE_METADATA_HOST": "127.0.0.1:1"}
    assert find_identity(environ=environ) == Identity("login", token)
    environ["KEYBROKER_ID_TOKEN"] = TOKEN
    assert find_identity(environ=environ) == Identity("environment", TOKEN)
    assert find_identity(environ={**environ, "KEYBROKER_IDENTITY": "login"}) == Identity("login", token)


def test_a_broken_source_is_not_passed_over() -> None:
    """A source that is present but broken is an error, and not the next source."""
    environ = {"GITHUB_ACTIONS": "true", "GITLAB_CI": "true"}
    with pytest.raises(IdentityError, match="GitHub Actions"):
        find_identity(environ=environ)


def test_a_chosen_source_is_the_only_one() -> None:
    """A source that KEYBROKER_IDENTITY names is the only one that is tried."""
    environ = {"GITHUB_ACTIONS": "true", "KEYBROKER_ID_TOKEN": TOKEN, "KEYBROKER_IDENTITY": "environment"}
    assert find_identity(environ=environ) == Identity("environment", TOKEN)
    with pytest.raises(NoIdentity, match=r"KEYBROKER_IDENTITY is 'circleci', but this was not found: a CircleCI job"):
        find_identity(environ={**environ, "KEYBROKER_IDENTITY": "circleci"})


def test_an_unknown_source_is_an_error() -> None:
    """An unknown source is an error that lists the known ones."""
    with pytest.raises(IdentityError, match="must be one of: token-file, environment, github-actions"):
        find_identity(environ={"KEYBROKER_IDENTITY": "gihtub"})


@pytest.mark.parametrize(
    ("given", "environ", "variable"),
    [
        (None, {}, "KEYBROKER_ID_TOKEN"),
        (None, {"KEYBROKER_AUDIENCE": "theirs"}, "THEIRS_ID_TOKEN"),
        ("mine", {"KEYBROKER_AUDIENCE": "theirs"}, "MINE_ID_TOKEN"),
        (None, {"KEYBROKER_AUDIENCE": ""}, "KEYBROKER_ID_TOKEN"),
    ],
)
def test_the_audience_has_a_default(given: str | None, environ: dict[str, str], variable: str) -> None:
    """The audience is the given one, then the variable's, then `keybroker`."""
    with pytest.raises(IdentityError, match=f"{variable}:"):
        find_identity(given, {"GITLAB_CI": "true", **environ})


def test_the_identity_token_is_not_in_its_repr() -> None:
    """An identity's repr does not contain its token."""
    identity = find_identity(environ={"KEYBROKER_ID_TOKEN": TOKEN})
    assert repr(identity) == "Identity(source='environment')"


def test_aws_credentials_are_an_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS credentials are an identity without a token."""
    from keybroker import aws  # noqa: PLC0415  botocore takes long to import

    aws._chain.cache_clear()
    with pytest.raises(NoIdentity):
        find_identity()
    aws._chain.cache_clear()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAMADEUP")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
    try:
        assert find_identity() == Identity(AWS_SIGV4, "")
    finally:
        aws._chain.cache_clear()


def test_absent_and_broken_are_different_errors() -> None:
    """NoIdentity and IdentityError are both KeybrokerErrors, and neither is the other."""
    assert issubclass(NoIdentity, KeybrokerError)
    assert issubclass(IdentityError, KeybrokerError)
    assert not issubclass(NoIdentity, IdentityError)  # "none" and "broken" are different answers
