"""Where a door listens."""

from __future__ import annotations

import contextlib
import errno
import socket
import stat
from contextlib import closing
from pathlib import Path

import pytest

from local import addresses

HERE = Path("/made/up")


@pytest.mark.parametrize("text", ["127.0.0.1:8080", "0.0.0.0:0", "[::1]:65535", "[::]:443", "unix:/made/up/a.sock"])
def test_what_is_read_is_written_again(text: str) -> None:
    """An address is shown as it is written."""
    assert str(addresses.parse(text, HERE)) == text


def test_a_socket_is_beside_the_file() -> None:
    """The path of a UNIX socket starts from a directory."""
    assert addresses.parse("unix:admin.sock", HERE).path == HERE / "admin.sock"


@pytest.mark.parametrize(
    "text",
    """: :8080 8080 127.0.0.1 127.0.0.1: 127.0.0.1:65536 127.0.0.1:8O ::1:80 [127.0.0.1]:80
    localhost:80 example.com:80 [::1:80 127.1:80 127.0.0.1:٣""".split(),  # noqa: SIM905  a list of words
)
def test_what_is_no_address(text: str) -> None:
    """Names and half addresses are refused."""
    with pytest.raises(ValueError):  # noqa: PT011  the text is the reader's
        addresses.parse(text, HERE)


def test_who_reaches_it() -> None:
    """Loopback and sockets are this machine's; of every address, and of IPv6, no URL is made."""
    read = [addresses.parse(one, HERE) for one in ("127.8.8.8:1", "[::1]:1", "unix:a", "10.0.0.1:1", "0.0.0.0:1")]
    assert [one.is_loopback for one in read] == [True, True, True, False, False]
    assert [one.is_url for one in read] == [True, False, True, True, False]


def test_a_port_in_use_is_one_line() -> None:
    """A port that is taken is told with the door it was for."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"^port {port} is in use or not allowed for the edge \("):
            addresses.bind("edge", addresses.parse(f"127.0.0.1:{port}", HERE), 1)


def test_a_unix_socket_is_its_owners(tmp_path: Path) -> None:
    """Others cannot connect to a UNIX socket; one that is served is not taken over, one that was left is."""
    listen = addresses.parse("unix:admin.sock", tmp_path)
    with closing(addresses.bind("administration", listen, 1)):
        assert stat.S_IMODE((tmp_path / "admin.sock").stat().st_mode) == 0o600
        with pytest.raises(OSError, match=r"^unix:.* is in use or not allowed for the administration \("):
            addresses.bind("administration", listen, 1)
    addresses.bind("administration", listen, 1).close()


def test_a_socket_whose_server_hangs_is_served(tmp_path: Path) -> None:
    """One whose server accepts nobody, and has as many that wait as it takes, holds up no start and is not taken over."""
    listen = addresses.parse("unix:admin.sock", tmp_path)
    with contextlib.ExitStack() as stack:
        stack.enter_context(closing(addresses.bind("administration", listen, 0)))
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)  # noqa: FBT003  the socket module's own signature
                waiting.connect(str(listen.path))
        with pytest.raises(OSError, match=r"^unix:.* is in use or not allowed for the administration \("):
            addresses.bind("administration", listen, 1)
        assert listen.path is not None
        assert listen.path.exists()


def test_a_file_is_no_socket(tmp_path: Path) -> None:
    """What is no socket stays where it is."""
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(OSError, match="is in use or not allowed"):
        addresses.bind("administration", addresses.parse("unix:notes", tmp_path), 1)
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_look_says_what_a_start_would(tmp_path: Path) -> None:
    """An address is looked at without a listener and without a file; what is wrong is said in the words of a start."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        at = addresses.parse(f"127.0.0.1:{taken.getsockname()[1]}", HERE)
        with pytest.raises(OSError, match=r"^port \d+ is in use or not allowed for the edge \(") as caught:
            addresses.check("edge", at)
        assert caught.value.errno == errno.EADDRINUSE
    addresses.check("edge", at)
    with closing(addresses.bind("edge", at, 1)):
        pass
    with pytest.raises(OSError, match="Cannot assign requested address") as caught:
        addresses.check("edge", addresses.parse("192.0.2.1:1", HERE))
    assert caught.value.errno == errno.EADDRNOTAVAIL
    addresses.check("administration", addresses.parse("unix:admin.sock", tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "number"), [("notes", errno.EADDRINUSE), ("none/a.sock", errno.ENOENT), ("x" * 108, errno.ENAMETOOLONG)]
)
def test_a_look_at_a_path(tmp_path: Path, path: str, number: int) -> None:
    """A path where no socket can be is told, and so is one where someone listens; one that was left is none."""
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(OSError, match="is in use or not allowed for the administration") as caught:
        addresses.check("administration", addresses.parse(f"unix:{path}", tmp_path))
    assert caught.value.errno == number
    listen = addresses.parse("unix:admin.sock", tmp_path)
    with closing(addresses.bind("administration", listen, 1)), pytest.raises(OSError, match="in use"):
        addresses.check("administration", listen)
    addresses.check("administration", listen)
    assert (tmp_path / "admin.sock").exists()
