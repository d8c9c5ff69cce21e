"""What stops a start, in one line each, and what a signal stops: nothing is lost."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.local.configured_server import (
    ANY_PORT,
    STATE,
    only_line,
    refused,
    served,
    token_of,
    write,
)
from tests.local.test_check import contents
from tests.local.test_machine import REAL, start
from tests.running import POLICY as PRACTISED
from tests.running import ROOT, wait_until

pytestmark = pytest.mark.slow  # each starts all processes of one machine


def test_a_port_in_use_stops_the_start(tmp_path: Path) -> None:
    """An address that is taken is one line with the door it was for, and nothing is made."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        text = (
            f"policy = 'keybroker.yaml'\n[edge]\nlisten = '127.0.0.1:{port}'\n[broker]\nlisten = '127.0.0.1:0'\n{STATE}"
        )
        assert f"port {port} is in use or not allowed for the edge" in refused(tmp_path, text)
    assert not (tmp_path / "state").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a directory to another user")
def test_a_state_of_another_owner_stops_the_start(tmp_path: Path) -> None:
    """A state directory of another user is one line that says what to do, and stays as it was."""
    (tmp_path / "state").mkdir(mode=0o700)
    os.chown(tmp_path / "state", 12345, 12345)
    line = refused(tmp_path, f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}")
    assert "state_open_to_others" in line
    assert "chown it to the user that runs this" in line
    assert list((tmp_path / "state").iterdir()) == []


def test_a_state_of_a_newer_version_stops_the_start(tmp_path: Path) -> None:
    """A state that a newer Keybroker made is one line, and stays as it was."""
    command = write(tmp_path, f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}")
    start(tmp_path / "state", REAL, tmp_path / "keybroker.yaml")
    with closing(sqlite3.connect(tmp_path / "state" / "state.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = contents(tmp_path / "state")
    assert "cannot start: state_file_newer (" in only_line(command)
    assert contents(tmp_path / "state") == before


@pytest.mark.parametrize("blocks", [8, 200])
def test_a_full_disk_stops_the_start(tmp_path: Path, blocks: int) -> None:
    """Where there is no room for the state, a start is one line; with room, the next one is whole."""
    command = write(tmp_path, f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}")
    only_line(["sh", "-c", f'ulimit -f {blocks} && exec "$@"', "sh", *command])
    assert not (tmp_path / "state" / "signing-key.pem").exists()
    with served(tmp_path, f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}") as server:
        assert server.ask("administration", "GET", "/admin/policy", server.signed("127.0.0.1")).status == 200


def test_a_restore_onto_a_running_server_is_refused(tmp_path: Path) -> None:
    """A restore while a server runs is one line, and the server goes on with what it had."""
    with served(tmp_path, f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}") as server:
        state = [sys.executable, "-m", "local", "--installed", "state"]
        backup = [*state, "backup", str(tmp_path / "backup"), "--state", str(tmp_path / "state")]
        subprocess.run(backup, cwd=ROOT, capture_output=True, timeout=30, check=True)
        line = only_line([*state, "restore", str(tmp_path / "backup"), "--state", str(tmp_path / "state")])
        assert "state_in_use (another server uses" in line
        assert server.ask("administration", "GET", "/admin/policy", server.signed("127.0.0.1")).status == 200


def test_a_drain_ends_in_its_time(tmp_path: Path) -> None:
    """A stream that goes on for longer than the stated time is cut then, visibly, and the server ends with 0."""
    text = f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}[timeouts]\ndrain_seconds = 1\n"
    with served(tmp_path, text, "--practice", policy=PRACTISED) as server:
        headers = {"Authorization": f"Bearer {token_of(server)}", "Content-Type": "application/json"}
        body = {
            "model": "gpt-5-mini",
            "stream": True,
            "max_tokens": 100_000,
            "messages": [{"role": "user", "content": "a"}],
        }
        port = urlsplit(server.said["edge"]).port or 0
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("POST", "/openai/v1/chat/completions", json.dumps(body), headers)
            answer = connection.getresponse()
            answer.read(10)
            server.process.send_signal(signal.SIGTERM)
            with pytest.raises(http.client.IncompleteRead):
                answer.read()
        assert server.process.wait(30) == 0
        assert "Traceback" not in server.log.read_text()


def test_a_signal_while_it_starts_is_no_fault(tmp_path: Path) -> None:
    """Ctrl-C, which reaches the whole process group, ends a start without an error, and leaves a whole state."""
    command = write(tmp_path, f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}")
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_until((tmp_path / "state" / "urls.json").exists, 30)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    assert "error" not in said
    assert "Traceback" not in said
    with served(tmp_path, f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}"):
        pass


@pytest.mark.parametrize(("door", "path"), [("edge", "/openai/v1/models"), ("broker", "/.well-known/jwks.json")])
def test_no_call_on_an_open_connection_is_lost(tmp_path: Path, door: str, path: str) -> None:
    """A stop tells callers that keep a connection busy to close it, in the answer, before it does so itself."""
    broken: list[str] = []
    ended: list[int] = []

    def call_on(port: int) -> None:
        for calls in itertools.count():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                connection.connect()
            except OSError:
                ended.append(calls)
                return
            with closing(connection):
                while connection.sock is not None:  # until an answer said so
                    try:
                        connection.request("GET", path)
                        connection.getresponse().read()
                    except (OSError, http.client.HTTPException) as error:
                        broken.append(type(error).__name__)
                        return
                    time.sleep(0.01)

    with served(tmp_path, f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}") as server:
        port = urlsplit(server.said[door]).port or 0
        callers = [threading.Thread(target=call_on, args=(port,)) for _ in range(4)]
        for one in callers:
            one.start()
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        for one in callers:
            one.join(30)
        assert server.process.wait(30) == 0
    assert broken == []
    assert len(ended) == 4


def test_running_calls_are_drained(tmp_path: Path) -> None:
    """A signal in the middle of a stream lets it end in its time; who comes then is not taken."""
    text = f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}[timeouts]\ndrain_seconds = 30\n"
    with served(tmp_path, text, "--practice", policy=PRACTISED) as server:
        token = token_of(server)
        url = urlsplit(server.said["edge"])
        body = {"model": "gpt-5-mini", "stream": True, "messages": [{"role": "user", "content": "word " * 40}]}
        with closing(http.client.HTTPConnection("127.0.0.1", url.port or 0, timeout=30)) as connection:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            connection.request("POST", "/openai/v1/chat/completions", json.dumps(body), headers)
            answer = connection.getresponse()
            first = answer.read(10)
            server.process.send_signal(signal.SIGTERM)
            assert (first + answer.read()).rstrip().endswith(b"data: [DONE]")
        assert server.process.wait(30) == 0
