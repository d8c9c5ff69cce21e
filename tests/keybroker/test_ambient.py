"""Which source is taken: the order, the choice by name, and what is said where there is none."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from keybroker import IdentityError, KeybrokerError, NoIdentity, ambient, find_identity
from keybroker.ambient import AWS_SIGV4, ON_REQUEST, SOURCES, Identity
from tests.scripted_broker import bare_surroundings, jwt

TOKEN = jwt(aud="keybroker")
PARTS = {"__init__", "identity_request", "command", "retry"}
"""Modules that sources are made of."""


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    bare_surroundings(monkeypatch)


def test_where_nothing_is_found_it_lists_what_was_looked_for() -> None:
    with pytest.raises(NoIdentity) as caught:
        find_identity(environ={})
    lines = str(caught.value).splitlines()
    assert lines[0] == "no workload identity found; tried:"
    assert lines[1:] == [f"  {what}" for _, what in SOURCES.values()]


def test_every_source_has_its_module() -> None:
    folder = Path(ambient.__file__).parent / "sources"
    named = {module for module, _ in (*SOURCES.values(), *ON_REQUEST.values())}
    assert named == {path.stem for path in folder.glob("*.py")} - PARTS
    for module in named:
        assert callable(import_module(f"keybroker.sources.{module}").find)


def test_what_was_set_on_purpose_comes_before_the_ci_and_that_before_the_machine(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    environ = {"GCE_METADATA_HOST": "127.0.0.1:1", "GITLAB_CI": "true", "MINE_ID_TOKEN": jwt(aud="mine")}
    assert find_identity("mine", environ).source == "gitlab"
    environ["KEYBROKER_ID_TOKEN_FILE"] = str(tmp_path / "token")
    assert find_identity("mine", environ) == Identity("token-file", TOKEN)


def test_there_and_broken_is_an_error_and_not_the_next_source() -> None:
    environ = {"GITHUB_ACTIONS": "true", "GITLAB_CI": "true"}
    with pytest.raises(IdentityError, match="GitHub Actions"):
        find_identity(environ=environ)


def test_a_source_that_is_named_is_the_only_one_that_is_tried() -> None:
    environ = {"GITHUB_ACTIONS": "true", "KEYBROKER_ID_TOKEN": TOKEN, "KEYBROKER_IDENTITY": "environment"}
    assert find_identity(environ=environ) == Identity("environment", TOKEN)
    with pytest.raises(NoIdentity, match=r"KEYBROKER_IDENTITY is 'circleci', but this was not found: a CircleCI job"):
        find_identity(environ={**environ, "KEYBROKER_IDENTITY": "circleci"})


def test_a_source_that_nobody_knows_is_an_error_that_lists_them() -> None:
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
def test_the_audience_is_what_is_given_or_set_or_else_keybroker(
    given: str | None, environ: dict[str, str], variable: str
) -> None:
    with pytest.raises(IdentityError, match=f"{variable}:"):
        find_identity(given, {"GITLAB_CI": "true", **environ})


def test_the_identity_token_is_not_in_its_repr() -> None:
    identity = find_identity(environ={"KEYBROKER_ID_TOKEN": TOKEN})
    assert repr(identity) == "Identity(source='environment')"


def test_aws_credentials_are_an_identity_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_its_errors_are_keybrokers() -> None:
    assert issubclass(NoIdentity, KeybrokerError)
    assert issubclass(IdentityError, KeybrokerError)
    assert not issubclass(NoIdentity, IdentityError)  # "none" and "broken" are different answers
