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
    "around", ["{}", "{}\n", "{}\r\n", " {}\t", '"{}"\n', "'{}'", "Bearer {}\n", "bearer  {}", '"Bearer {}"']
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_token_is_found_in_its_wrapping(tmp_path: Path, around: str, encoding: str) -> None:
    """A byte order mark, PowerShell's UTF-16, line ends, quotes and `Bearer` are taken off a token."""
    (tmp_path / "token").write_bytes(around.format(TOKEN).encode(encoding))
    found = find_identity(environ={"KEYBROKER_ID_TOKEN_FILE": str(tmp_path / "token")})
    assert found.unverified_subject_token == TOKEN
    variable = around.format(TOKEN) if encoding == "utf-8" else "\ufeff" + around.format(TOKEN)
    assert find_identity(environ={"KEYBROKER_ID_TOKEN": variable}).unverified_subject_token == TOKEN


def test_utf_16_without_its_mark_is_named(tmp_path: Path) -> None:
    """UTF-16 without its mark is not guessed."""
    (tmp_path / "token").write_bytes(TOKEN.encode("utf-16-be"))
    with pytest.raises(IdentityError, match="is not an identity token"):
        find_identity(environ={"KEYBROKER_ID_TOKEN_FILE": str(tmp_path / "token")})


SECRET = TOKEN.rpartition(".")[2]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xef\xbb\xbf\r\n", "is empty"),
        (b'""', "is empty"),
        (b"not a token", "holds several words"),
        (b"a.b", "is not an identity token"),
        (b"a.b.c.d", "is not an identity token"),
        (b"a.b.c.d.e", "an encrypted token"),
        (b"a.b.c d", "holds several words"),
        (f'{{"value": "{TOKEN}"}}'.encode(), "holds JSON"),
        (f'[{{"value": "{TOKEN}"}}]'.encode("utf-16"), "holds JSON"),
        (f"KEYBROKER_ID_TOKEN={TOKEN}".encode(), "holds an assignment"),
        (f"export T='{TOKEN}'".encode(), "holds an assignment"),
        (f"Authorization: Bearer {TOKEN}".encode(), "holds an assignment"),
        (f"{TOKEN}\n{TOKEN}\n".encode(), "holds 2 lines"),
        (f"{TOKEN[:20]}\r\n{TOKEN[20:]}".encode(), "holds 2 lines"),
        (f'"{TOKEN}'.encode(), "is not an identity token"),
        (f"-----BEGIN CERTIFICATE-----\n{SECRET}".encode(), "a key or certificate"),
        (b"\xff\xfe.b.", "no text in UTF-8 or UTF-16"),
        (b"\x80" + TOKEN.encode(), "no text in UTF-8 or UTF-16"),
        (b"a." + b"b" * LIMIT + b".c", "at most 16384"),
        (b"b" * 2_000_000, "holds 2000000 bytes; .* at most 16384"),
    ],
)
def test_a_bad_token_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    """A token file without a token is an error that names it and says what it holds, and does not quote it."""
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(IdentityError, match=said) as caught:
        find_identity(environ={"KEYBROKER_ID_TOKEN_FILE": str(file)})
    assert str(file) in str(caught.value)
    assert caught.value.__cause__ is not None
    shown = f"{caught.value}{caught.value.__cause__.__context__!r}{caught.value.__cause__.__cause__!r}"
    assert "not a token" not in shown
    assert SECRET not in shown


def test_a_directory_is_named(tmp_path: Path) -> None:
    """A directory in place of a token file is said to be one."""
    with pytest.raises(IdentityError, match="cannot be read: Is a directory"):
        find_identity(environ={"KEYBROKER_ID_TOKEN_FILE": str(tmp_path)})


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
