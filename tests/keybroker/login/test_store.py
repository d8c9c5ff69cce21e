"""The file of a login: private, whole, and its owner's."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from keybroker.errors import IdentityError
from keybroker.login import store
from keybroker.login.id_token import Login

LOGIN = Login("https://login.example", "client", "a.b.c", "refresh-1")


def keep(where: Path, login: Login = LOGIN) -> Path:
    with store.locked(where):
        store.save(where, login)
    return where / store.FILE


def test_what_is_kept_is_private(where: Path) -> None:
    """The file has mode 0600 and its folder 0700, under any umask; nothing else is left there."""
    before = os.umask(0)
    try:
        path = keep(where)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(where.stat().st_mode) == 0o700
    assert {one.name for one in where.iterdir()} == {"login.json", "login.lock"}
    assert store.load(where) == LOGIN


def test_no_login(where: Path) -> None:
    """Without a file, or a folder, there is no login, and looking for one makes none."""
    assert (store.load(where), store.take(where), where.exists()) == (None, None, False)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_an_unsafe_file(where: Path, mode: int) -> None:
    """A file that other users can read or write is not used, and is mended as the error says."""
    keep(where).chmod(mode)
    with pytest.raises(IdentityError, match=rf"is open to other users \(mode {mode:04o}\)"):
        store.load(where)
    (where / store.FILE).chmod(0o600)
    assert store.load(where) == LOGIN


def test_a_link_is_not_followed(where: Path, tmp_path: Path) -> None:
    """A symbolic link in the file's place is refused when it is read, and replaced when it is written."""
    (tmp_path / "target").write_text("{}")
    where.mkdir(parents=True)
    (where / store.FILE).symlink_to(tmp_path / "target")
    with pytest.raises(IdentityError, match="cannot be read"):
        store.load(where)
    keep(where)
    assert ((tmp_path / "target").read_text(), store.load(where)) == ("{}", LOGIN)


def test_a_pipe_does_not_block(where: Path) -> None:
    """A named pipe in the file's place is an error at once."""
    where.mkdir(parents=True)
    os.mkfifo(where / store.FILE, 0o600)
    with pytest.raises(IdentityError, match="not a plain file"):
        store.load(where)


def test_a_folder_in_its_place(where: Path) -> None:
    """A folder in the file's place is an error, when it is read and when it is to be removed."""
    (where / store.FILE).mkdir(parents=True)
    for use in (store.load, store.take):
        with pytest.raises(IdentityError, match=r"not a plain file|cannot be used"):
            use(where)


def test_a_file_system_without_locks(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system has no locks, the login cannot be used, rather than be used without one."""

    def no_locks(_: int) -> bool:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(store, "_lock", no_locks)
    with pytest.raises(IdentityError, match="cannot be used: No locks available"):
        keep(where)


@pytest.mark.parametrize("kind", ["link", "writable"])
def test_a_shared_folder(where: Path, tmp_path: Path, kind: str) -> None:
    """A folder that is a link, or that others can write, gets no login."""
    where.parent.mkdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    if kind == "link":
        where.symlink_to(tmp_path / "elsewhere")
    else:
        where.mkdir()
        where.chmod(0o777)
    with pytest.raises(IdentityError, match=r"not a plain file or folder|open to other users"):
        keep(where)
    assert [*(tmp_path / "elsewhere").iterdir()] == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_another_users_file(where: Path) -> None:
    """A file of another user is not used."""
    os.chown(keep(where), 12345, 12345)
    with pytest.raises(IdentityError, match="belongs to another user"):
        store.load(where)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"issuer": "", "client_id": "c", "id_token": "t", "refresh_token": ""}', "\x00"]
)
def test_what_is_not_a_login(where: Path, text: str) -> None:
    """What is not a login is an error that says what to do, and can be removed."""
    keep(where).write_text(text)
    with pytest.raises(IdentityError, match="is not a login; run keybroker login"):
        store.load(where)
    with pytest.raises(IdentityError, match="is not a login"):
        store.take(where)
    assert store.load(where) is None


def test_taking_it_leaves_nothing(where: Path) -> None:
    """A login that is taken is gone, with what a crash may have left of another."""
    keep(where)
    (where / ".login.crashed").write_text("half a token")
    assert store.take(where) == LOGIN
    assert {one.name for one in where.iterdir()} == {"login.lock"}


def test_a_failed_write_keeps_the_old_one(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the new login cannot be written, the old one is whole and nothing else is left."""
    keep(where)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(IdentityError, match="cannot be used: No space left on device"):
        keep(where, Login("https://login.example", "client", "d.e.f", "refresh-2"))
    assert store.load(where) == LOGIN
    assert {one.name for one in where.iterdir()} == {"login.json", "login.lock"}


def test_a_lock_that_is_not_given_back(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that another holds for too long is an error, not a wait forever."""
    monkeypatch.setattr(store, "_PATIENCE", 0.05)
    with store.locked(where), pytest.raises(IdentityError, match="another process has held"), store.locked(where):
        pass


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"XDG_STATE_HOME": "/state", "HOME": "/home/a"}, "/state/keybroker"),
        ({"XDG_STATE_HOME": "state", "HOME": "/home/a"}, "/home/a/.local/state/keybroker"),
        ({"HOME": "/home/a"}, "/home/a/.local/state/keybroker"),
        ({"USERPROFILE": "/users/a"}, "/users/a/.local/state/keybroker"),
        ({"HOME": "relative"}, None),
        ({}, None),
    ],
)
def test_where_it_is(environ: dict[str, str], folder: str | None) -> None:
    """It is where the XDG specification says; without a home there is none."""
    assert store.folder(environ) == (Path(folder) if folder else None)
