"""Files that only their owner may read."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from chalicelib.errors import Unavailable
from local import secret_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file of this test is."""
    return tmp_path / "secret"


def _reason(path: Path) -> str:
    with pytest.raises(Unavailable) as caught:
        secret_file.read(path)
    assert str(path) in caught.value.hint  # of several such files it is this one
    return caught.value.reason


@pytest.mark.parametrize("write", [secret_file.write, secret_file.write_once])
def test_what_is_written_is_read_and_only_its_owner_can(path: Path, write: object) -> None:
    assert callable(write)
    umask = os.umask(0)
    try:
        write(path, "sk-made-up ü")
    finally:
        os.umask(umask)
    assert secret_file.read(path) == "sk-made-up ü"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("write", [secret_file.write, secret_file.write_once])
def test_what_is_written_outlives_a_power_cut(path: Path, write: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's content is on the disk first, and then its name: a key that is acknowledged is there afterwards."""
    assert callable(write)
    synced, real = [], os.fsync

    def fsync(handle: int) -> None:
        synced.append((os.fstat(handle).st_ino, path.exists()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    write(path, "sk-made-up")
    assert synced == [(path.stat().st_ino, False), (path.parent.stat().st_ino, True)]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o601, 0o610])
def test_a_file_that_others_may_touch_is_refused(path: Path, mode: int) -> None:
    secret_file.write(path, "sk-made-up")
    path.chmod(mode)
    assert _reason(path) == "secret_file_open_to_others"


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_its_owner_alone_is_read(path: Path, mode: int) -> None:
    secret_file.write(path, "sk-made-up")
    path.chmod(mode)
    assert secret_file.read(path) == "sk-made-up"


def test_a_missing_file_is_unreadable(path: Path) -> None:
    assert _reason(path) == "secret_file_unreadable"


def test_a_file_that_is_no_text_is_unreadable(path: Path) -> None:
    path.touch(0o600)
    path.write_bytes(b"\xff\xfe")
    assert _reason(path) == "secret_file_unreadable"


@pytest.mark.parametrize(("size", "read"), [(1024 * 1024, True), (1024 * 1024 + 1, False)])
def test_a_file_over_a_mebibyte_is_refused_and_never_read_in_part(path: Path, size: int, *, read: bool) -> None:
    secret_file.write(path, "x")
    path.write_text("x" * size)
    if read:
        assert len(secret_file.read(path)) == size
    else:
        assert _reason(path) == "secret_file_too_large"


def test_oversized_text_is_not_written(path: Path) -> None:
    """A text too large to be read back is not written, and the previous one stays."""
    secret_file.write(path, "before")
    with pytest.raises(Unavailable, match="secret_file_too_large"):
        secret_file.write(path, "é" * (512 * 1024) + "x")
    assert secret_file.read(path) == "before"


def test_a_directory_is_no_secret_file(path: Path) -> None:
    path.mkdir(0o700)
    assert _reason(path) == "secret_file_unreadable"


def test_a_pipe_is_refused_at_once(path: Path) -> None:
    os.mkfifo(path, 0o600)
    reasons: list[str] = []
    thread = threading.Thread(target=lambda: reasons.append(_reason(path)), daemon=True)
    thread.start()
    thread.join(2)
    assert reasons == ["secret_file_unreadable"]


def test_writing_replaces_the_file_in_one_step(path: Path) -> None:
    secret_file.write(path, "first")
    with path.open() as before:
        secret_file.write(path, "second")
        assert (before.read(), secret_file.read(path)) == ("first", "second")


def test_writing_over_a_file_that_was_open_to_others_makes_it_private(path: Path) -> None:
    path.touch(0o644)
    secret_file.write(path, "second")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_failed_write_leaves_the_file_and_nothing_beside_it(path: Path) -> None:
    secret_file.write(path, "first")
    with pytest.raises(UnicodeEncodeError):
        secret_file.write(path, "\ud800")
    assert secret_file.read(path) == "first"
    assert list(path.parent.iterdir()) == [path]


def test_written_once_it_stays_as_it_is(path: Path) -> None:
    assert secret_file.write_once(path, "first") == "first"
    assert secret_file.write_once(path, "second") == "first"
    assert list(path.parent.iterdir()) == [path]


def test_of_several_that_write_once_one_wins_and_all_read_the_same(path: Path) -> None:
    barrier, found = threading.Barrier(8), []

    def write(number: int) -> None:
        barrier.wait(10)
        found.append(secret_file.write_once(path, f"key {number}"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (len(found), set(found)) == (8, {secret_file.read(path)})


def test_written_once_over_a_file_that_is_open_to_others_is_refused(path: Path) -> None:
    path.touch(0o644)
    with pytest.raises(Unavailable, match="secret_file_open_to_others"):
        secret_file.write_once(path, "mine")
