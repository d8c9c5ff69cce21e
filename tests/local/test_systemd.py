"""What systemd hands over and is told, over real sockets; systemd itself is played by this test."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.addresses import Listen
from local.systemd import Handed, notify
from tests.local.test_machine import POLICY
from tests.running import ROOT

UNITS = ROOT / "deploy" / "systemd"
_HAND_OVER = """\
import os, sys
for number, given in enumerate(map(int, sys.argv[1].split(","))):
    os.dup2(given, 50 + number)
count = number + 1
for number in range(count):
    os.dup2(50 + number, 3 + number)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count)}
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket that listens, as systemd keeps it."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as one:
        yield one


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Where services tell systemd how they are."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.settimeout(60)
        yield one


@pytest.mark.parametrize("name", ["notify", "@keybroker"])
def test_what_is_told(tmp_path: Path, name: str) -> None:
    """Each message is one datagram, to a path or to a name in no file system."""
    name = f"{name}-{os.getpid()}" if name.startswith("@") else str(tmp_path / name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        notify("READY=1", "STATUS=serving", environment={"NOTIFY_SOCKET": name})
        assert one.recv(100) == b"READY=1\nSTATUS=serving"


def test_a_manager_that_is_gone_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without systemd nothing is told; if it cannot be told, that is one line."""
    notify("READY=1", environment={})
    assert caplog.messages == []
    notify("READY=1", environment={"NOTIFY_SOCKET": str(tmp_path / "none")})
    assert "systemd cannot be told READY=1" in caplog.text


@pytest.mark.parametrize("pid", ["", "1", pytest.param(str(os.getpid() + 1), id="next")])
def test_what_is_meant_for_another_process_is_left(listening: socket.socket, pid: str) -> None:
    """Sockets for another process are not taken, and children are told of none."""
    environment = {"LISTEN_PID": pid, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x"}
    handed = Handed.take(environment)
    assert environment == {}
    assert handed.find(Listen(*listening.getsockname())) is None
    handed.check_all_found()


def test_a_unix_socket_is_not_everybody_s(tmp_path: Path) -> None:
    """A UNIX socket is taken as its owner's, or also a group's; not as systemd makes it unless told, open to every user."""
    listen = Listen("", path=tmp_path / "admin.sock")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(listen.path))
        one.listen(1)
        for mode in (0o600, 0o660):
            (tmp_path / "admin.sock").chmod(mode)
            assert Handed([one]).find(listen) is one
        (tmp_path / "admin.sock").chmod(0o666)
        with pytest.raises(
            OSError, match=r"^unix:.*admin.sock is open to every user of this machine: say SocketMode=0600"
        ):
            Handed([one]).find(listen)


@pytest.mark.slow
@pytest.mark.parametrize("given", ["file", "stranger", "unlistening"])
def test_what_is_handed_over_in_vain(tmp_path: Path, listening: socket.socket, given: str) -> None:
    """What is no listening socket, or none of a door, stops the start in one line."""
    with Path(os.devnull).open() as file, socket.socket() as other:
        number = {"file": file.fileno(), "stranger": listening.fileno(), "unlistening": other.fileno()}[given]
        ended = subprocess.run(
            _command(tmp_path, number, broker=0),
            cwd=ROOT,
            pass_fds=[number],
            capture_output=True,
            text=True,
            check=False,
        )
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1), ended.stderr
    said = {"file": "is no socket", "stranger": "where no door listens", "unlistening": "does not listen"}
    assert said[given] in ended.stderr


def _command(directory: Path, *numbers: int, broker: int) -> list[str]:
    doors = {"broker": broker, "edge": 0, "administration": 0}
    text = "".join(f"[{door}]\nlisten = '127.0.0.1:{port}'\n" for door, port in doors.items())
    (directory / "keybroker.yaml").write_text(POLICY)
    (directory / "keybroker.toml").write_text(f"policy = 'keybroker.yaml'\n{text}[state]\ndirectory = 'state'\n")
    serve = ["-m", "local", "--installed", "serve", "--config", str(directory / "keybroker.toml"), "--json"]
    return [sys.executable, "-c", _HAND_OVER, ",".join(map(str, numbers)), *serve]


@contextlib.contextmanager
def _started(directory: Path, listening: socket.socket, manager: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    """Start as systemd does, and wait until it is ready."""
    number, environment = listening.fileno(), {**os.environ, "NOTIFY_SOCKET": str(directory / "notify")}
    command = _command(directory, number, broker=listening.getsockname()[1])
    with (
        (directory / "log").open("ab") as log,
        subprocess.Popen(command, cwd=ROOT, env=environment, pass_fds=[number], stdout=log, stderr=log) as process,
    ):
        try:
            assert manager.recv(1000).startswith(b"READY=1"), (directory / "log").read_text()
            yield process
        finally:
            process.terminate()
            process.wait(30)


def _ask(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/.well-known/jwks.json", headers={"Connection": "close"})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.slow
def test_a_restart_loses_no_connection(tmp_path: Path, listening: socket.socket, manager: socket.socket) -> None:
    """Ready is told once it serves, and stopping when it stops; who connects between two servers waits, and is served."""
    port, answers = listening.getsockname()[1], list[int]()
    with _started(tmp_path, listening, manager):
        assert _ask(port) == 200
        ends = threading.Event()

        def keep_asking() -> None:
            while not ends.is_set():
                answers.append(_ask(port))

        callers = [threading.Thread(target=keep_asking) for _ in range(4)]
        for one in callers:
            one.start()
    assert manager.recv(1000).startswith(b"STOPPING=1")
    waiting = threading.Thread(target=lambda: answers.append(_ask(port)))
    waiting.start()  # nobody serves now
    with _started(tmp_path, listening, manager):
        waiting.join()
        ends.set()
        for one in callers:
            one.join()
    assert len(answers) >= 5
    assert set(answers) == {200}


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd's own checker")
def test_systemd_reads_the_units(tmp_path: Path) -> None:
    """There is no fault that systemd finds in the units, and it calls the service's exposure low."""
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/keybroker/bin/keybroker", sys.executable)
        (tmp_path / unit.name).write_text(text)
    verified = subprocess.run(
        ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--json=short"]
    secure = subprocess.run(
        [*command, str(tmp_path / "keybroker.service")], capture_output=True, text=True, check=False
    )
    assert secure.returncode == 0, secure.stdout[-200:]
    assert json.loads(secure.stdout)
