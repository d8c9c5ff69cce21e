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
    """A text file is read whole, as UTF-8."""
    assert input_file.read_text(str(made(tmp_path, "schlüssel\n".encode()))) == "schlüssel\n"


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    """A missing, binary or oversized file is an error that names it."""
    assert said(tmp_path / "none") == (f"{tmp_path}/none: No such file or directory",)
    assert "Is a directory" in said(tmp_path)[0]
    assert "not UTF-8" in said(made(tmp_path, b"a\xff"))[0]
    assert "larger than 4194304 bytes" in said(made(tmp_path, b"a" * (input_file.LIMIT + 1)))[0]


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 100_000])
def test_claims_must_be_a_json_object(tmp_path: Path, content: bytes) -> None:
    """Claims that are not a JSON object are an error."""
    assert "file: not " in said(made(tmp_path, content), "read_json_object")[0]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_readable_secret_is_refused(tmp_path: Path, mode: int) -> None:
    """A secret that other users can read is refused, with what to do."""
    path = made(tmp_path, b"sk-made-up", mode)
    what, todo = said(path, "read_secret")
    assert what == f"{path}: readable by other users (mode {mode:04o})"
    assert todo == f"chmod 600 {path}"


def test_a_private_secret_is_read(tmp_path: Path) -> None:
    """A secret that only its owner can read is read."""
    assert input_file.read_secret(str(made(tmp_path, b"sk-made-up", 0o600))) == "sk-made-up"
