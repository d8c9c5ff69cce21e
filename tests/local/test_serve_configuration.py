"""A server that is told by its configuration file: its doors and its certificate."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.descriptors import LEAST
from tests import certificates
from tests.keybroker.cli.keybroker_command import run as keybroker
from tests.local.configured_server import (
    ANY_PORT,
    DOORS,
    STATE,
    TLS,
    Server,
    only_line,
    served,
    write,
)
from tests.running import POLICY as PRACTISED
from tests.running import ROOT, wait_until

pytestmark = pytest.mark.slow  # each starts all processes of one machine


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
            keys = json.loads((tmp_path / "state" / "admin.json").read_text())
            environ = {
                "KEYBROKER_ADMIN_URL": f"unix:{tmp_path / 'admin.sock'}",
                "AWS_ACCESS_KEY_ID": keys["access_key_id"],
                "AWS_SECRET_ACCESS_KEY": keys["secret_access_key"],
                "AWS_REGION": "us-east-1",
            }
            listed = keybroker("keys", "list", environ=environ)
            assert (listed.code, "openai" in listed.out) == (0, True), listed
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


def test_the_edge_reaches_its_own_broker(tmp_path: Path) -> None:
    """Anthropic's exchange works at the edge though the broker's public URL leads nowhere from this machine, over TLS too."""
    words = ("--public-url", "https://broker.invalid", "--practice")
    for tls in ("", TLS):
        with served(tmp_path, f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}{tls}", *words, policy=PRACTISED) as server:
            answer = server.ask("edge", "POST", "/anthropic/v1/oauth/token", {"Content-Length": "0"})
            assert (answer.status, answer.getheader("content-type")) == (400, "application/json")


class TestTls:
    """TLS from files."""

    def test_an_end_that_comes_near_is_logged(self, tmp_path: Path) -> None:
        """From the start on it is in the log, once a day, until there is another certificate."""
        soon = int(time.time()) + 5 * 86400
        command = write(tmp_path, f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}{TLS}")
        certificates.write(tmp_path / "tls", ends=soon)
        with (tmp_path / "log").open("w") as log, subprocess.Popen(command, cwd=ROOT, stderr=log) as process:
            try:
                wait_until(lambda: "renew it" in (tmp_path / "log").read_text(), 30)
                certificates.write(tmp_path / "tls")
                wait_until(lambda: "was read again" in (tmp_path / "log").read_text())
            finally:
                process.terminate()
        [line] = [one for one in (tmp_path / "log").read_text().splitlines() if "renew it" in one]
        assert re.search(r"certificate: \S+ expires on \S+ \S+ UTC, in 4 days: renew it$", line)

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

    def test_all_serve_what_was_read(self, tmp_path: Path) -> None:
        """Workers serve what was read and checked, though the files are of no use by the time that they hear of it."""
        with served(tmp_path, f"policy = 'keybroker.yaml'\nworkers = 2\n{ANY_PORT}{STATE}{TLS}") as server:
            frozen = _workers(server)
            for one in frozen:
                os.kill(one, signal.SIGSTOP)
            try:
                certificates.write(tmp_path / "tls")
                wait_until(lambda: "was read again" in server.log.read_text())
                (tmp_path / "tls" / "key.pem").write_text("notes")
                wait_until(lambda: "stays as it was" in server.log.read_text())
            finally:
                for one in frozen:
                    os.kill(one, signal.SIGCONT)
            wait_until(lambda: all(_trusts(server) for _ in range(8)))

    def test_a_worker_that_comes_later_serves_what_is_in_force(self, tmp_path: Path) -> None:
        """A worker that dies while the files are of no use is replaced by one with the certificate in force."""
        with served(tmp_path, f"policy = 'keybroker.yaml'\n{ANY_PORT}{STATE}{TLS}") as server:
            (tmp_path / "tls" / "key.pem").write_text("notes")
            wait_until(lambda: "stays as it was" in server.log.read_text())
            for one in _workers(server):
                os.kill(one, signal.SIGKILL)
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
        assert f"cannot start: {said} (" in only_line(command)
        assert not (tmp_path / "state").exists()


def _workers(server: Server) -> list[int]:
    """Return the process ids of a server's workers."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return [int(one) for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]


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
