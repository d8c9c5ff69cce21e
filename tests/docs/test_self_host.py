"""docs/self-host.md, followed to the letter: a virtual environment of its own, with the wheel, in one shell.

Packages come from this machine, since tests are offline, and so does OpenAI: its name leads to a server of the test's own.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from local import configuration
from local.configuration import InvalidConfigurationError
from tests import certificates, offline_pip
from tests.running import ROOT

PAGE = (ROOT / "docs" / "self-host.md").read_text()
FENCE = re.compile(r"^```(bash|toml|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KEY = "sk-real-0123456789abcdef"
SERVE = "keybroker serve --config keybroker/keybroker.toml &\n"
READY = "until curl -sf http://127.0.0.1:8080/healthz; do kill -0 $! || exit 9; sleep 0.1; done\n"
NAMES = """
import socket
found = socket.getaddrinfo
def getaddrinfo(host, port, *args, **more):
    if host == "api.openai.com":
        host, port = "127.0.0.1", {port}
    return found(host, port, *args, **more)
socket.getaddrinfo = getaddrinfo
"""
"""What Python runs at its start: the name server of this test."""


def blocks(kind: str) -> list[str]:
    """Return the page's blocks of one kind."""
    return [text for found, text in FENCE.findall(PAGE) if found == kind]


class Provider(BaseHTTPRequestHandler):
    """Answers like OpenAI to those that have the key."""

    def do_GET(self) -> None:
        """List the models."""
        allowed = self.headers["authorization"] == f"Bearer {KEY}" and self.path == "/v1/models"
        body = b'{"object": "list", "data": [{"id": "gpt-5-mini"}]}' if allowed else b'{"error": {}}'
        self.send_response(200 if allowed else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def provider(directory: Path) -> Iterator[dict[str, str]]:
    """Serve as api.openai.com; give the variables that lead there."""
    files = certificates.write(directory, names=["api.openai.com"])
    (directory / "names").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        (directory / "names" / "sitecustomize.py").write_text(NAMES.format(port=server.server_port))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield {"PYTHONPATH": str(directory / "names"), "SSL_CERT_FILE": str(files.certificate)}
        finally:
            server.shutdown()


def script(source: str, port: int) -> str:
    """Return what the page tells its reader to type, with the ports, the source and the key of this machine."""
    text = "set -e\ntrap 'kill $(jobs -p)' EXIT\n" + "".join(blocks("bash"))
    replaced = {
        "file:///path/to/clone": source,
        "keybroker init keybroker\n": f"keybroker init keybroker --port {port}\n",
        SERVE: SERVE + READY.replace("8080", str(port)),
        "keybroker keys set openai\n": f"printf %s {KEY} | keybroker keys set openai --no-probe\n",
    }
    for shown, here in replaced.items():
        assert shown in text
        text = text.replace(shown, here)
    return text


def free_ports() -> int:
    """Return the first of three ports that are likely free, below those that systems give out by themselves."""
    return 20_000 + os.getpid() % 2_000 * 5


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_page_works_to_the_letter(tmp_path: Path) -> None:
    """The first call works within five commands of an installation from the wheel, as they stand on the page."""
    tools, work, dist = (tmp_path / name for name in ("tools", "work", "dist"))
    for one in (tools, work, dist):
        one.mkdir()
    offline_pip.write_python(tools, tmp_path / "packages")
    with provider(tmp_path / "provider") as leads:
        environ = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "HOME": str(work),
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_GCE_CHECK": "true",
            **offline_pip.ENVIRON,
            **leads,
        }
        text = script(offline_pip.build_wheel(dist).as_uri(), free_ports())
        done = subprocess.run(
            ["bash", "-c", text], cwd=work, env=environ, capture_output=True, text=True, timeout=300, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert '{"object": "list", "data": [{"id": "gpt-5-mini"}]}' in done.stdout
    assert "these keys are not set (keybroker keys set NAME): openai" in done.stderr
    assert KEY not in done.stdout + done.stderr
    shipped = next((work / "venv" / "lib").glob("python3*")) / "site-packages" / "keybroker" / "_server"
    assert (shipped / "local").is_dir()
    shutil.rmtree(work)


def test_five_commands() -> None:
    """From the installation to the first call there are five commands."""
    install, first, *_ = blocks("bash")
    assert offline_pip.SERVER in install.splitlines()
    assert len(first.splitlines()) == 5
    assert SERVE in first


def test_the_configuration_is_one(tmp_path: Path) -> None:
    """The page's configuration can be read, and its table names every field that there is."""
    [text] = blocks("toml")
    (tmp_path / "keybroker.toml").write_text(text)
    told = configuration.read(tmp_path / "keybroker.toml")
    assert (told.broker.public_url, told.drain_seconds) == ("https://broker.example.com:8443", 30)
    table = PAGE.partition("| Field |")[2].partition("\n\n")[0]
    rows = [re.findall(r"`([a-z_.]+)`", line.split("|")[1]) for line in table.splitlines()[2:]]
    assert {name for row in rows for name in row} == set(configuration.FIELDS)


def test_the_fault_is_one(tmp_path: Path) -> None:
    """The page's fault is what is said."""
    [text] = [one for one in blocks("text") if one.startswith("error: ")]
    lines = ["#"] * 4 + ["[edge]", "listen = 'localhost:80'", "[state]", "directory = 'state'"]
    (tmp_path / "keybroker.toml").write_text("\n".join(lines))
    with pytest.raises(InvalidConfigurationError) as caught:
        configuration.read(tmp_path / "keybroker.toml")
    assert f"error: {caught.value}\n".replace(str(tmp_path), "keybroker") == text
