"""Requests through a UNIX socket of this machine."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest

from keybroker import NotConfigured, Unreachable, http_client, unix_socket
from tests.keybroker.cli.canned_server import CannedServer

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """The path of a socket where every request is answered."""
    path = tmp_path / "a.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    threading.Thread(target=CannedServer(server, [ANSWER]).serve, daemon=True).start()
    return path


def ask(path: Path | str, timeout: float = 20) -> http_client.Response:
    """Make one call through a socket."""
    return http_client.call("GET", f"{unix_socket.BASE}/admin/keys", b"", {}, timeout, 1000, str(path))


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("unix:/run/a.sock", "/run/a.sock"),
        ("unix:///run/a.sock", "///run/a.sock"),
        ("unix:a.sock", "a.sock"),
        ("https://unix:1", ""),
        ("", ""),
    ],
)
def test_a_socket_is_a_path(url: str, path: str) -> None:
    """What begins with unix: is a path, and anything else is none."""
    assert unix_socket.path_of(url) == path


@pytest.mark.parametrize("url", ["unix:", "unix:a\0b"])
def test_no_path_is_refused(url: str) -> None:
    """Where there is no path, the text says what one looks like."""
    with pytest.raises(NotConfigured, match=r"named by its path: unix:/run/keybroker/admin\.sock"):
        unix_socket.path_of(url)


def test_an_answer_comes_back(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is answered through the socket, whatever proxy the environment names; the path may be relative."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.chdir(served.parent)
    assert ask(served).body == ask("a.sock").body == b"{}"


def test_what_is_no_server_is_told_by_its_path(tmp_path: Path) -> None:
    """Where nobody listens, no answer comes or no socket is, the error names the path."""
    (tmp_path / "notes").write_text("mine")
    with closing(socket.socket(socket.AF_UNIX)) as left, closing(socket.socket(socket.AF_UNIX)) as mute:
        left.bind(str(tmp_path / "left"))
        mute.bind(str(tmp_path / "mute"))
        mute.listen()
        for name, why in (
            ("none", "No such file"),
            ("notes", "it is no socket"),
            ("left", "Connection refused"),
            ("mute", "timed out"),
        ):
            with pytest.raises(Unreachable, match=f"^cannot reach {tmp_path / name}: .*{why}"):
                ask(tmp_path / name, 0.2 if name == "mute" else 20)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_socket_of_another_user_is_refused(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent to another user's program; root also talks to the server to whom the directory belongs."""
    os.chown(served, 12345, -1)
    with pytest.raises(Unreachable, match="the socket belongs to user 12345"):
        ask(served)
    os.chown(served.parent, 12345, -1)
    assert ask(served).status == 200
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(Unreachable, match="the socket belongs to user 12345"):
        ask(served)
    os.chown(served, 54321, -1)
    assert ask(served).status == 200
    os.chown(served, 0, -1)
    assert ask(served).status == 200
