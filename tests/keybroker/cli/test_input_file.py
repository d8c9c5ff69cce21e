from __future__ import annotations

from pathlib import Path

import pytest

from keybroker.cli import input_file
from keybroker.cli.command_error import LOCAL, CommandError


def said(name: Path, read: str = "read_text") -> tuple[str, ...]:
    with pytest.raises(CommandError) as caught:
        getattr(input_file, read)(str(name))
    assert caught.value.code == LOCAL
    return tuple(caught.value.lines)


def made(tmp_path: Path, content: bytes, mode: int = 0o644) -> Path:
    path = tmp_path / "file"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    assert input_file.read_text(str(made(tmp_path, "schlüssel\n".encode()))) == "schlüssel\n"


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert said(tmp_path / "none") == (f"{tmp_path}/none: No such file or directory",)
    assert "Is a directory" in said(tmp_path)[0]
    assert "not UTF-8" in said(made(tmp_path, b"a\xff"))[0]
    assert "larger than 4194304 bytes" in said(made(tmp_path, b"a" * (input_file.LIMIT + 1)))[0]


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 100_000])
def test_claims_have_to_be_a_json_object(tmp_path: Path, content: bytes) -> None:
    assert "file: not " in said(made(tmp_path, content), "read_json_object")[0]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_secret_that_others_can_read_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    path = made(tmp_path, b"sk-made-up", mode)
    what, todo = said(path, "read_secret")
    assert what == f"{path}: readable by other users (mode {mode:04o})"
    assert todo == f"chmod 600 {path}"


def test_a_secret_of_ones_own_is_read(tmp_path: Path) -> None:
    assert input_file.read_secret(str(made(tmp_path, b"sk-made-up", 0o600))) == "sk-made-up"
