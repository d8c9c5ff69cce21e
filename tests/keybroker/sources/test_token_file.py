from __future__ import annotations

from pathlib import Path

import pytest

from keybroker import IdentityError, find_identity
from keybroker.ambient import Identity
from keybroker.sources.identity_request import LIMIT
from tests.keybroker.sources.stand_ins import TOKEN
from tests.scripted_broker import jwt


def test_a_token_file_is_read_each_time(tmp_path: Path) -> None:
    """A token file is read anew each time."""
    file = tmp_path / "token"
    for token in (jwt(jti="1"), jwt(jti="2")):
        file.write_text(f"{token}\n")
        found = find_identity(environ={"KEYBROKER_ID_TOKEN_FILE": str(file)})
        assert found == Identity("token-file", token)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"not a token", "is not an identity token"),
        (b"a.b", "is not an identity token"),
        (b"a.b.c.d", "is not an identity token"),
        (b"a.b.c d", "is not an identity token"),
        (b"\xff\xfe.b.c", "is not an identity token"),
        (b"a." + b"b" * LIMIT + b".c", "at most 16384"),
    ],
)
def test_a_bad_token_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    """A token file without a token is an error that names it, and does not quote it."""
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(IdentityError, match=said) as caught:
        find_identity(environ={"KEYBROKER_ID_TOKEN_FILE": str(file)})
    assert str(file) in str(caught.value)
    assert "not a token" not in str(caught.value)


def test_a_missing_token_file_is_an_error(tmp_path: Path) -> None:
    """A token file that does not exist is an error, and not the next source."""
    environ = {"KEYBROKER_ID_TOKEN_FILE": str(tmp_path / "none"), "GITLAB_CI": "true"}
    with pytest.raises(IdentityError, match=r"cannot be read: No such file.*(.*\n)*.*KEYBROKER_IDENTITY"):
        find_identity(environ=environ)


@pytest.mark.parametrize("name", ["KEYBROKER_ID_TOKEN", "KEYBROKER_ID_TOKEN_FILE"])
def test_an_empty_variable_is_an_error(name: str) -> None:
    """A variable that is set but empty is an error."""
    with pytest.raises(IdentityError, match=f"{name}.*empty"):
        find_identity(environ={name: ""})


def test_a_file_and_a_variable_are_an_error(tmp_path: Path) -> None:
    """A token file and a token variable at once are an error."""
    (tmp_path / "token").write_text(TOKEN)
    both = {"KEYBROKER_ID_TOKEN": TOKEN, "KEYBROKER_ID_TOKEN_FILE": str(tmp_path / "token")}
    with pytest.raises(IdentityError, match="both set"):
        find_identity(environ=both)


def test_an_endless_token_file_is_bounded() -> None:
    """A token file is read no further than a token may be long."""
    with pytest.raises(IdentityError, match=r"at most|is not an identity token"):
        find_identity(environ={"KEYBROKER_ID_TOKEN_FILE": "/dev/zero"})
