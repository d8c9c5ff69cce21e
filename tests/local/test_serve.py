"""The processes of one machine: how they start, what they say, how they die and what outlives that."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from local.descriptors import LEAST
from local.machine import Machine
from local.practice import policy as practice
from local.urls import Urls
from tests.contracts.samples import jti_of
from tests.running import POLICY, ROOT, Running, start, wait_until

pytestmark = pytest.mark.slow  # each starts all processes of one machine

_PROC = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads who is whose child from /proc")
_PARTS = ("broker", "edge", "provider", "issuer")


def _free_ports() -> int:
    """Return a port with three more behind it that are free, below those that systems give out by themselves."""
    for first in range(20_000 + os.getpid() % 1000 * 8, 32_000, 4):
        if all(_is_free(first + offset) for offset in range(4)):
            return first
    raise OSError("no free ports")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _port(url: str) -> int:
    return int(urlsplit(url).port or 0)


def _children(pid: int) -> list[int]:
    """Return a process's children and theirs, oldest first."""
    found = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [one for child in found for one in _children(child)]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _workers(pid: int) -> list[int]:
    """Return the children that serve; multiprocessing has another of its own."""
    return [one for one in _children(pid) if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]


def _serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a `serve` that is expected to give up by itself."""
    command = [sys.executable, "-m", "local", "serve", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


def _audited(running: Running, kind: str, repository_id: str) -> list[str]:
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        filters = f"kind={kind}&principal={quote(running.sub(repository_id), safe='')}&limit=200"
        page = running.administer("GET", f"/admin/audit?{filters}" + (f"&after={after}" if after else "")).json
        found += [str(one["jti"]) for one in page["items"]]
        after = page["next"]
    return found


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Keybroker on a port and in a directory that were named."""
    with start("--port", str(_free_ports()), directory=tmp_path_factory.mktemp("named")) as one:
        yield one


def _prepare(directory: Path) -> None:
    """Make a state directory as an earlier start would have left it."""
    urls = Urls("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3", "http://127.0.0.1:4")
    Machine(directory, urls).prepare(None, practice.made_up_values())


class TestStart:
    """What `serve` says when it starts, or does not."""

    def test_json_says_where_everything_is(self, named: Running) -> None:
        assert all(urlsplit(getattr(named, name)).hostname == "127.0.0.1" for name in _PARTS)
        assert set(named.admin) == {"access_key_id", "secret_access_key", "region"}
        assert named.state.parent == named.log.parent

    def test_ports_are_consecutive(self, named: Running) -> None:
        """The parts' ports are consecutive, starting with the given one."""
        first = _port(named.broker)
        assert first in range(20_000, 32_000)
        assert [_port(getattr(named, name)) for name in _PARTS] == [first, first + 1, first + 2, first + 3]

    def test_only_its_owner_can_read_what_it_keeps(self, named: Running) -> None:
        kept = [named.state, *named.state.iterdir()]
        open_to_others = {path.name for path in kept if stat.S_IMODE(path.stat().st_mode) & 0o077}
        assert {"state.db", "signing-key.pem", "admin.json", "provider-keys.json"} <= {path.name for path in kept}
        assert open_to_others == set()

    def test_a_taken_port_is_one_line_that_names_it(self) -> None:
        with closing(socket.socket()) as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            _fails(_serve("--port", str(port)), f"error: port {port} is in use")

    def test_unreadable_policy_is_one_line(self, tmp_path: Path) -> None:
        """An unreadable policy is one line with its path."""
        _fails(_serve("--port", "0", "--policy", str(tmp_path / "none.yaml")), "policy_unreadable", "none.yaml")

    def test_policy_faults_are_one_line_each(self, tmp_path: Path) -> None:
        """Each fault of a policy is one line with its location."""
        policy = tmp_path / "keybroker.yaml"
        faulty = POLICY.replace("{provider: anthropic}", "{provider: nobody}").replace('"POST:/v1/messages"', "7")
        policy.write_text(faulty.replace("3/day", "3/year"))
        state = tmp_path / "state"
        done = _serve("--port", "0", "--policy", str(policy), "--state", str(state))
        lines = done.stderr.splitlines()
        assert (done.returncode, done.stdout, len(lines)) == (1, "", 3)
        assert all(line.startswith("error: ") and "keybroker.yaml:" in line for line in lines)
        assert not state.exists()

    @pytest.mark.parametrize("name", ["signing-key.pem", "admin.json"])
    def test_a_key_file_that_others_can_read_is_refused(self, tmp_path: Path, name: str) -> None:
        _prepare(tmp_path)
        (tmp_path / name).chmod(0o640)
        _fails(_serve("--port", "0", "--state", str(tmp_path)), "secret_file_open_to_others")

    def test_a_state_file_that_is_no_database_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "state.db").touch(mode=0o600)
        (tmp_path / "state.db").write_text("notes\n" * 1000)
        _fails(_serve("--port", "0", "--state", str(tmp_path)), "state_unavailable")

    @pytest.mark.parametrize("left", [None, b""], ids=["missing", "empty"])
    def test_missing_state_file_beside_its_key(self, tmp_path: Path, left: bytes | None) -> None:
        """A missing state file is not created again beside its signing key."""
        _prepare(tmp_path)
        path = tmp_path / "state.db"
        path.unlink()
        if left is not None:
            path.write_bytes(left)
        _fails(_serve("--port", "0", "--state", str(tmp_path)), "state_file_missing")
        assert path.exists() is (left is not None)

    def test_a_second_server_is_refused(self, named: Running) -> None:
        """A second server on one directory does not start, says why, and leaves the first as it was."""
        in_force = named.administer("GET", "/admin/policy").json
        _fails(_serve("--port", "0", "--state", str(named.state)), "state_in_use", str(named.state))
        assert named.administer("GET", "/admin/policy").json == in_force
        assert named.exchange(named.mint("7510")).status == 200

    @pytest.mark.parametrize(("word", "needs"), [("--apply", "--policy"), ("--set-keys", "--no-practice")])
    def test_a_word_without_its_object_is_refused(self, word: str, needs: str) -> None:
        """What a start is told to put in force has to be there."""
        done = _serve("--port", "0", word)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{word} needs {needs}" in done.stderr

    def test_each_line_of_the_log_has_its_time(self, named: Running) -> None:
        """Lines of the log begin with their time, in JSON as a member."""
        named.complete("no.token.here")
        times = r'(\{"time": ")?20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ'
        wait_until(lambda: '"door"' in named.log.read_text())
        assert all(re.match(times, line) for line in named.log.read_text().splitlines())

    def test_a_state_directory_that_is_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "state").touch()
        _fails(_serve("--port", "0", "--state", str(tmp_path / "state")), "state")


def _fails(done: subprocess.CompletedProcess[str], *texts: str) -> None:
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert all(text in line for text in texts), line


class TestEnd:
    """How it ends."""

    @_PROC
    @pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
    def test_signal_stops_all_processes(self, number: signal.Signals) -> None:
        """A signal stops all processes with exit code 0 and without further output."""
        with start("--workers", "2") as one:
            family = _children(one.process.pid)
            one.process.send_signal(number)
            assert one.process.communicate(timeout=10)[0] == ""
            assert one.process.returncode == 0
            wait_until(lambda: not any(_is_alive(pid) for pid in family), 5)
            assert "Traceback" not in one.log.read_text()
            assert all(_is_free(_port(getattr(one, name))) for name in _PARTS)

    @pytest.mark.slow
    def test_temporary_state_is_deleted(self) -> None:
        """A state directory that was not given is deleted at the end."""
        command = [sys.executable, "-m", "local", "serve", "--port", "0", "--json"]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            state = Path(json.loads(process.stdout.readline())["state"])
            assert (state / "state.db").exists()
            process.terminate()
            assert process.wait(10) == 0
        assert not state.exists()

    @_PROC
    def test_sigkill_ends_all_processes(self) -> None:
        """After SIGKILL to the parent, all processes end within seconds."""
        with start("--workers", "2") as one:
            family = _children(one.process.pid)
            assert len(_workers(one.process.pid)) == 3
            one.process.kill()
            one.process.wait(10)
            wait_until(lambda: not any(_is_alive(pid) for pid in family), 8)
            assert all(_is_free(_port(getattr(one, name))) for name in _PARTS)

    @_PROC
    @pytest.mark.slow
    def test_sigkill_with_an_open_stream_frees_the_ports(self) -> None:
        """After SIGKILL to the parent, with a stream open, the ports are free at once."""
        with start("--workers", "2") as one, closing(_held_stream(one)) as stream:
            one.process.kill()
            one.process.wait(10)
            wait_until(lambda: all(_is_free(_port(getattr(one, name))) for name in _PARTS), 1)
            with contextlib.suppress(ConnectionResetError):
                while stream.recv(65_536):
                    pass


class TestUnderWay:
    """What the workers do beside the calls that pass through them."""

    def test_a_revocation_ends_a_stream(self) -> None:
        """Whichever worker has it, a stream breaks off once its key is revoked, and the log says so."""
        body = b'{"model": "gpt-5-mini", "stream": true, "max_tokens": 100000, "messages": [{"role": "user", "content": "a"}]}'
        with (
            start("--workers", "2") as one,
            closing(socket.create_connection(("127.0.0.1", _port(one.edge)))) as stream,
        ):
            stream.settimeout(20)
            head = f"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {one.token()}\r\n"
            stream.sendall(
                f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            )
            assert stream.recv(15) == b"HTTP/1.1 200 OK"
            one.revoke("key", "openai")
            last = b""
            with contextlib.suppress(ConnectionResetError):
                while more := stream.recv(65_536):
                    last = more
            assert not last.endswith(b"0\r\n\r\n")
            wait_until(lambda: '"under_way": true' in one.log.read_text())

    def test_what_answers_took_is_shown(self) -> None:
        """What the models' answers took is in the usage within seconds."""
        with start() as one:
            assert one.complete(one.token()).status == 200

            def models() -> list[dict[str, object]]:
                items = one.administer("GET", "/admin/usage").json["items"]
                return [model for item in items for model in item["models"]]

            wait_until(lambda: len(models()) == 1)
            (model,) = models()
            assert (model["model"], model["answers"], model["unknown"]) == ("gpt-5-mini", 1, 0)


def _held_stream(running: Running) -> socket.socket:
    """Return a connection to the edge whose call has no end."""
    token = running.token("7509")
    stream = socket.create_connection(("127.0.0.1", _port(running.edge)))
    head = f"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {token}\r\n"
    stream.sendall(
        f"{head}Content-Type: application/json\r\nContent-Length: 3000000\r\n\r\n".encode() + b" " * 2_000_000
    )
    return stream


class TestStrangers:
    """Strangers who open connections and leave them idle keep nobody out."""

    @pytest.mark.slow
    def test_a_revocation_gets_in_beside_idle_strangers(self) -> None:
        """With few descriptors, and more idle connections at both doors than those, calls and a revocation are answered."""
        with contextlib.ExitStack() as stack:
            one = stack.enter_context(start(open_files=LEAST))
            token = one.token("7510")
            for url in (one.edge, one.broker):
                for sent in (
                    b"",
                    b"POST / HTTP/1.1\r\nX: ",
                    b"POST /token HTTP/1.1\r\nHost: e\r\nContent-Length: 9\r\n\r\n",
                    b"POST /admin/revocations HTTP/1.1\r\nHost: e\r\nContent-Length: 9\r\n\r\n",
                ):
                    for _ in range(LEAST // 2):
                        idle = socket.create_connection(("127.0.0.1", _port(url)), timeout=5)
                        stack.callback(idle.close)
                        with contextlib.suppress(ConnectionError):
                            idle.sendall(sent)
            asked = one.impatient()
            assert asked.complete(token).status == 200
            asked.revoke("principal", one.sub("7510"))
            assert asked.complete(token).status == 403
            log = one.log.read_text()
        assert "Traceback" not in log
        assert "edge: all " in log
        assert "broker: all " in log

    @pytest.mark.slow
    def test_too_few_descriptors_are_refused(self) -> None:
        """A limit of open files that is too low for a service ends the start with what to do."""
        command = ["sh", "-c", f'ulimit -n {LEAST - 1} && exec "$@"', "sh", sys.executable, "-m", "local", "serve"]
        done = subprocess.run(
            [*command, "--port", "0"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
        )
        _fails(done, "too_few_descriptors", "ulimit")


@_PROC
class TestSurvival:
    """What is acknowledged outlives `kill -9`."""

    @pytest.mark.slow
    def test_state_survives_sigkill(self, tmp_path: Path) -> None:
        """Tokens, revocations, quotas and the audit survive SIGKILL."""
        first, arguments = _free_ports(), ("--workers", "2")
        with start("--port", str(first), *arguments, directory=tmp_path) as one:
            kept, taken, small = one.token("7501"), one.token("7502"), one.token("7503", owner="7")
            one.revoke("principal", one.sub("7502"))
            assert [one.complete(small).status for _ in range(4)] == [200] * 4
            family = _children(one.process.pid)
            one.process.kill()
            one.process.wait(10)
        wait_until(lambda: not any(_is_alive(pid) for pid in family), 8)
        with start("--port", str(first), *arguments, directory=tmp_path) as one:
            assert one.complete(kept).status == 200
            assert one.complete(taken).status == 403
            assert one.exchange(one.mint("7502")).json["error"] == "invalid_grant"
            assert [one.complete(small).status for _ in range(2)] == [200, 429]
            assert _audited(one, "token.issued", "7502") == [jti_of(taken)]
            assert len(_audited(one, "revocation.made", "7502")) == 1
        assert _integrity(tmp_path) == "ok"

    @pytest.mark.slow
    def test_sigkill_under_load_loses_no_audit(self, tmp_path: Path) -> None:
        """After SIGKILL under load, every returned token is in the audit."""
        first, answered = _free_ports(), []
        for _ in range(3):
            with start("--port", str(first), "--workers", "2", directory=tmp_path) as one:
                waiting = [one.mint("7504") for _ in range(120)]
                family = [one.process.pid, *_children(one.process.pid)]
                with ThreadPoolExecutor(4) as pool:
                    asked = [pool.submit(_token_or_none, one, subject_token) for subject_token in waiting]
                    wait_until(lambda asked=asked: sum(one.done() for one in asked) > 30)
                    _kill(family)
                answered += [token for token in (one.result() for one in asked) if token]
                one.process.wait(10)
            wait_until(lambda family=family: not any(_is_alive(pid) for pid in family), 8)
        assert len(answered) > 60, "there was no load to be killed under"
        with start("--port", str(first), directory=tmp_path) as one:
            assert {jti_of(token) for token in answered} <= set(_audited(one, "token.issued", "7504"))
        assert _integrity(tmp_path) == "ok"

    @pytest.mark.slow
    def test_killed_worker_is_replaced(self) -> None:
        """A killed worker is replaced, and service continues."""
        with start("--workers", "2") as one:
            token = one.token("7505")
            before = _workers(one.process.pid)
            os.kill(before[0], signal.SIGKILL)
            wait_until(lambda: before[0] not in _workers(one.process.pid) and len(_workers(one.process.pid)) == 3)
            wait_until(lambda: _completes(one, token))
            assert [one.complete(token).status for _ in range(8)] == [200] * 8
            assert one.exchange(one.mint("7505")).status == 200
            one.process.terminate()
            assert one.process.wait(10) == 0

    @pytest.mark.slow
    def test_a_worker_that_dies_without_its_state(self, tmp_path: Path) -> None:
        """A worker that dies while the state file is away is replaced, all answer 503, and it serves when that is back."""
        with start("--workers", "2", directory=tmp_path) as one:
            token, state = one.token("7507"), one.state / "state.db"
            state.rename(state.with_suffix(".away"))
            before = _workers(one.process.pid)
            os.kill(before[0], signal.SIGKILL)
            wait_until(lambda: "worker 1 serves again" in one.log.read_text())
            asked = one.impatient()
            assert {asked.complete(token).status for _ in range(8)} == {503}
            assert {asked.exchange(asked.mint("7507")).status for _ in range(4)} == {503}
            assert asked.administer("GET", "/admin/policy").status == 503
            state.with_suffix(".away").rename(state)
            assert [one.complete(token).status for _ in range(8)] == [200] * 8
            one.revoke("principal", one.sub("7507"))
            assert {one.complete(token).status for _ in range(8)} == {403}
            assert before[1] in _workers(one.process.pid)
            assert "Traceback" not in one.log.read_text()

    @pytest.mark.slow
    def test_a_worker_serves_no_other_state_file(self, tmp_path: Path) -> None:
        """A worker that starts after the state file was replaced by a copy refuses, for the copy lacks revocations."""
        with start(directory=tmp_path) as one:
            token, state = one.token("7508"), one.state / "state.db"
            copy = state.with_suffix(".copy")
            with closing(sqlite3.connect(state)) as connection, closing(sqlite3.connect(copy)) as old:
                connection.backup(old)
            copy.chmod(0o600)
            one.revoke("principal", one.sub("7508"))
            copy.rename(state)
            os.kill(_workers(one.process.pid)[0], signal.SIGKILL)
            wait_until(lambda: "worker 1 serves again" in one.log.read_text())
            assert one.impatient().complete(token).status == 503
            assert "state_file_replaced" in one.log.read_text()

    @pytest.mark.slow
    def test_killed_practice_parts_are_replaced(self) -> None:
        """Killed practice parts are replaced and know their keys."""
        with start() as one:
            token = one.token("7506")
            os.kill(_workers(one.process.pid)[-1], signal.SIGKILL)
            wait_until(lambda: _completes(one, token))


def _kill(family: list[int]) -> None:
    """Kill all of them at once, the parent first, so that nobody is replaced."""
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _token_or_none(running: Running, subject_token: str) -> str | None:
    """Return a token that was answered; None if nobody answers any more."""
    try:
        answer = running.exchange(subject_token)
    except (OSError, HTTPException):
        return None
    return str(answer.json["access_token"]) if answer.status == 200 else None


def _completes(running: Running, token: str) -> bool:
    try:
        return running.complete(token).status == 200
    except (OSError, HTTPException):
        return False


def _integrity(directory: Path) -> str:
    with closing(sqlite3.connect(directory / "state" / "state.db")) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
