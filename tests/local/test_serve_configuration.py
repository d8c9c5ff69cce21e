"""A server that is told by its configuration file: its doors, its certificate, and what stops its start."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.descriptors import LEAST
from tests import certificates
from tests.local.test_machine import POLICY
from tests.running import POLICY as PRACTISED
from tests.running import ROOT, wait_until

pytestmark = pytest.mark.slow  # each starts all processes of one machine

DOORS = ("broker", "edge", "administration")
ANY_PORT = "".join(f"[{door}]\nlisten = '127.0.0.1:0'\n" for door in DOORS)
STATE = "[state]\ndirectory = 'state'\n"
TLS = "[tls]\ncertificate = 'tls/certificate.pem'\nkey = 'tls/key.pem'\n"


@dataclass(frozen=True)
class Server:
    """A running server. said: its line of JSON."""

    said: Mapping[str, Any]
    process: subprocess.Popen[str]
    log: Path
    directory: Path

    def ask(
        self, door: str, method: str, path: str, headers: Mapping[str, str] | None = None, host: str = "127.0.0.1"
    ) -> http.client.HTTPResponse:
        """Make one call at a door, over TLS if that is what it has."""
        url = urlsplit(str(self.said[door]))
        if url.scheme == "https":
            context = ssl.create_default_context(cafile=self.directory / "tls" / "certificate.pem")
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, url.port, timeout=10, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, url.port, timeout=10)
        with closing(connection):
            connection.request(method, path, headers=dict(headers or {}))
            answer = connection.getresponse()
            answer.read()
        return answer

    def signed(self, host: str) -> dict[str, str]:
        """Return the headers of an administrator's request to read the policy, as signed for a host."""
        keys = json.loads((self.directory / "state" / "admin.json").read_text())
        request = AWSRequest("GET", f"https://{host}/admin/policy")
        signer = SigV4Auth(Credentials(keys["access_key_id"], keys["secret_access_key"]), "execute-api", "us-east-1")
        signer.add_auth(request)
        return {**dict(request.headers), "Host": host}


def write(directory: Path, text: str, policy: str = POLICY) -> list[str]:
    """Write configuration, policy and certificate; return the command that serves them."""
    (directory / "keybroker.yaml").write_text(policy)
    (directory / "keybroker.toml").write_text(text)
    certificates.write(directory / "tls")
    return [sys.executable, "-m", "local", "--installed", "serve", "--config", str(directory / "keybroker.toml")]


@contextlib.contextmanager
def served(
    directory: Path, text: str, *words: str, policy: str = POLICY, open_files: int | None = None
) -> Iterator[Server]:
    """Serve a configuration, and stop it again. open_files: the most that each process may have; None: as here."""
    limited = [] if open_files is None else ["sh", "-c", f'ulimit -n {open_files} && exec "$@"', "sh"]
    command = [*limited, *write(directory, text, policy), "--json", *words]
    with (directory / "log").open("a") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    with process, process.stdout:
        try:
            line = process.stdout.readline()
            assert line, (directory / "log").read_text()
            yield Server(json.loads(line), process, directory / "log", directory)
        finally:
            process.terminate()
            process.wait(timeout=30)


def refused(directory: Path, text: str, *words: str) -> str:
    """Return the one line of a start that is refused."""
    return _only_line([*write(directory, text), *words])


def _only_line(command: list[str]) -> str:
    """Run a start that is expected to give up by itself, in one line, and return that."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_administration_has_an_address_of_its_own(tmp_path: Path) -> None:
    """`/admin` is at its own address alone, tokens are at the broker's alone, and what is not set is said."""
    with served(tmp_path, f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}") as server:
        headers = server.signed("127.0.0.1")
        assert server.ask("administration", "GET", "/admin/policy", headers).status == 200
        assert server.ask("administration", "GET", "/admin/policy").status == 403
        assert server.ask("broker", "GET", "/admin/policy", headers).status == 404
        assert server.ask("administration", "GET", "/healthz").status == 404
        assert server.ask("broker", "GET", "/healthz").status == 200
        assert server.said["keys_not_set"] == ["openai"]
        assert len({server.said[door] for door in DOORS}) == 3
        assert "secret_access_key" not in server.said["admin"]


def test_administration_at_a_unix_socket(tmp_path: Path) -> None:
    """At a UNIX socket an administrator is let in by a signature as ever, and a second server takes the place of a dead one."""
    text = f"policy = 'keybroker.yaml'\n{STATE}[administration]\nlisten = 'unix:admin.sock'\n" + "".join(
        f"[{door}]\nlisten = '127.0.0.1:0'\n" for door in DOORS[:2]
    )
    for _ in range(2):
        with served(tmp_path, text) as server:
            with closing(socket.socket(socket.AF_UNIX)) as one:
                one.connect(str(tmp_path / "admin.sock"))
                lines = "".join(f"{name}: {value}\r\n" for name, value in server.signed("localhost").items())
                one.sendall(f"GET /admin/policy HTTP/1.1\r\n{lines}\r\n".encode())
                assert one.recv(12) == b"HTTP/1.1 200"
            server.process.kill()
            server.process.wait(10)


def test_a_signature_behind_a_proxy(tmp_path: Path) -> None:
    """The host that was signed is the one that a trusted proxy names, if it is ours; another's word is none."""
    public = "[administration]\nlisten = '127.0.0.1:0'\npublic_url = 'https://keybroker-admin.example.com'\n"
    doors = "".join(f"[{door}]\nlisten = '127.0.0.1:0'\n" for door in DOORS[:2])
    for trusted, status in (("127.0.0.1", 200), ("10.0.0.7", 403)):
        text = f"policy = 'keybroker.yaml'\ntrusted_proxies = ['{trusted}']\n{doors}{public}{STATE}"
        with served(tmp_path, text.replace(":0'\npublic", f":{_free_port()}'\npublic")) as server:
            port = int((tmp_path / "keybroker.toml").read_text().split("127.0.0.1:")[3].split("'")[0])
            headers = {
                **server.signed("keybroker-admin.example.com"),
                "Host": "10.1.1.1:8082",
                "X-Forwarded-Host": "keybroker-admin.example.com",
                "X-Forwarded-Proto": "https",
            }
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            with closing(connection):
                connection.request("GET", "/admin/policy", headers=headers)
                assert connection.getresponse().status == status


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as one:
        return int(one.getsockname()[1])


def test_public_urls_are_what_callers_get(tmp_path: Path) -> None:
    """The words of the command line take the place of the file's URLs, and tokens name the broker's."""
    port = _free_port()
    text = f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}".replace("1:0'", f"1:{port}'", 1)
    words = ("--public-url", "https://broker.example.com", "--public-edge-url", "https://llm.example.com")
    with served(tmp_path, text, *words) as server:
        assert [server.said[door] for door in DOORS[:2]] == ["https://broker.example.com", "https://llm.example.com"]
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request("GET", "/.well-known/oauth-authorization-server")
            assert json.loads(connection.getresponse().read())["issuer"] == "https://broker.example.com"


class TestTls:
    """TLS from files."""

    def test_a_certificate_is_renewed_while_it_serves(self, tmp_path: Path) -> None:
        """New files are served from the next connection on; of no use, they are told once, and the old certificate stays."""
        with served(tmp_path, f"policy = 'keybroker.yaml'\nworkers = 2\n{ANY_PORT}{STATE}{TLS}") as server:
            assert urlsplit(server.said["edge"]).scheme == "https"
            assert [server.ask(door, "GET", "/healthz").status for door in ("broker", "edge")] == [200, 404]
            with pytest.raises((http.client.HTTPException, OSError)):
                _plainly(urlsplit(server.said["broker"]).port)
            certificates.write(tmp_path / "tls")
            wait_until(lambda: all(_trusts(server) for _ in range(8)))
            good = (tmp_path / "tls" / "key.pem").read_bytes()
            (tmp_path / "tls" / "key.pem").write_text("notes")
            wait_until(lambda: "the certificate stays as it was: tls_unusable" in server.log.read_text())
            assert all(_trusts(server) for _ in range(8))
            (tmp_path / "tls" / "key.pem").write_bytes(good)
            before = server.log.read_text().count("was read again")
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: server.log.read_text().count("was read again") > before)
            assert all(_trusts(server) for _ in range(8))
            assert "Traceback" not in server.log.read_text()
            assert server.log.read_text().count("stays as it was") == 1

    def test_a_worker_that_comes_later_serves_what_is_in_force(self, tmp_path: Path) -> None:
        """A worker that dies while the files are of no use is replaced by one with the certificate in force."""
        with served(tmp_path, f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}{TLS}") as server:
            (tmp_path / "tls" / "key.pem").write_text("notes")
            wait_until(lambda: "stays as it was" in server.log.read_text())
            for one in Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split():
                if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes():
                    os.kill(int(one), signal.SIGKILL)
            wait_until(lambda: "serves again" in server.log.read_text())
            assert _trusts(server)

    def test_silent_strangers_at_tls_keep_nobody_out(self, tmp_path: Path) -> None:
        """With few descriptors, and more connections that shake no hands at every door than those, all doors answer."""
        text = f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}{TLS}"
        with served(tmp_path, text, open_files=LEAST) as server, contextlib.ExitStack() as stack:
            for door in DOORS:
                for sent in (b"", b"\x16\x03\x01\x02\x00\x01"):
                    for _ in range(LEAST // 2):
                        idle = socket.create_connection(("127.0.0.1", urlsplit(server.said[door]).port or 0), timeout=5)
                        stack.callback(idle.close)
                        with contextlib.suppress(ConnectionError):
                            idle.sendall(sent)
            host = urlsplit(server.said["administration"]).netloc
            assert server.ask("administration", "GET", "/admin/policy", server.signed(host)).status == 200
            assert [server.ask(door, "GET", "/healthz").status for door in ("broker", "edge")] == [200, 404]
            said = server.log.read_text()
        assert "Traceback" not in said
        assert [f"{door}: all " in said for door in DOORS] == [True] * 3

    @pytest.mark.parametrize(
        ("break_it", "said"),
        [
            (lambda tls: certificates.write(tls, ends=1_700_000_000), "certificate_expired"),
            (lambda tls: (tls / "key.pem").write_text("notes"), "tls_unusable"),
            (lambda tls: (tls / "certificate.pem").unlink(), "tls_unusable"),
        ],
        ids=["expired", "unusable", "missing"],
    )
    def test_files_of_no_use_stop_the_start(self, tmp_path: Path, break_it: Any, said: str) -> None:  # noqa: ANN401
        """At the start, files of no use are one line, and nothing is made."""
        command = write(tmp_path, f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}{TLS}")
        break_it(tmp_path / "tls")
        assert f"cannot start: {said} (" in _only_line(command)
        assert not (tmp_path / "state").exists()


def _plainly(port: int | None) -> None:
    """Ask without TLS."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", "/healthz")
        connection.getresponse()


def _trusts(server: Server) -> bool:
    """Whether the broker serves the certificate that is in the file now."""
    try:
        return server.ask("broker", "GET", "/healthz").status == 200
    except ssl.SSLError:
        return False


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


def test_running_calls_are_drained(tmp_path: Path) -> None:
    """A signal in the middle of a stream lets it end in its time; who comes then is not taken."""
    text = f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}[timeouts]\ndrain_seconds = 30\n"
    with served(tmp_path, text, "--practice", policy=PRACTISED) as server:
        token = _token(server)
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


def _token(server: Server) -> str:
    issuer, broker = (urlsplit(server.said[name]) for name in ("issuer", "broker"))
    claims = {"aud": "keybroker", "sub": "x", "repository_id": "1", "repository_owner_id": "9919", "repository": "o/r"}
    minted = _post(issuer.port, "/_mint", claims)["token"]
    exchange = "urn:ietf:params:oauth:grant-type:token-exchange"
    fields = {"grant_type": exchange, "subject_token": minted, "audience": "openai"}
    jwt = {"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}
    return str(_post(broker.port, "/token", {**fields, **jwt})["access_token"])


def _post(port: int | None, path: str, body: Mapping[str, str]) -> Any:  # noqa: ANN401  whatever was answered
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())
