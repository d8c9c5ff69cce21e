"""TLS and proxies, with real certificates, a real TLS server and a real proxy."""

from __future__ import annotations

import base64
import contextlib
import gc
import ipaddress
import socket
import ssl
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keybroker import NotConfigured, Unreachable, exchange_token
from tests.scripted_broker import jwt

SUBJECT = jwt(aud="keybroker", marker="a-secret-that-no-proxy-sees")
ANSWER = b'{"access_token": "a.b.c", "token_type": "Bearer", "expires_in": 900, "scope": "s", "base_url": "u"}'


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Clear up what http.client of Python before 3.11.5 leaves open where a proxy refuses a tunnel."""
    yield
    if sys.version_info < (3, 11, 5):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of this machine, signed by itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "broker.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
    return file


@contextlib.contextmanager
def serving(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accept connections on a free port, and let `serve` have each in a thread; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run(connection: socket.socket) -> None:
            with connection:
                serve(connection)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    connection.settimeout(10)
                    threading.Thread(target=run, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.fixture
def broker(certificate: Path) -> Iterator[str]:
    """A broker behind TLS; yields its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
            data = b""
            while SUBJECT.rpartition(".")[2].encode() not in data:
                data += tls.recv(65536)
            tls.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER))

    with serving(serve) as port:
        yield f"https://127.0.0.1:{port}"


@dataclass
class Proxy:
    """A proxy that tunnels. heads: what it was asked. passed: every byte that the client sent through it."""

    url: str = ""
    answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n"
    heads: list[str] = field(default_factory=list)
    passed: bytearray = field(default_factory=bytearray)

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1)
            self.heads.append(head.decode())
            connection.sendall(self.answer)
            host, _, port = head.split()[1].decode().partition(":")
            with socket.create_connection((host, int(port)), 10) as onward:
                back = threading.Thread(target=self._copy, args=(onward, connection), daemon=True)
                back.start()
                self._copy(connection, onward, self.passed)
                back.join(10)

    def _copy(self, source: socket.socket, target: socket.socket, kept: bytearray | None = None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if kept is not None:
                    kept += data
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    one = Proxy()
    with serving(one.serve) as port:
        one.url = f"127.0.0.1:{port}"
        yield one


def ask(url: str) -> str:
    return exchange_token(url, SUBJECT, "openai", timeout=10.0).access_token


def test_an_untrusted_certificate_is_refused(broker: str) -> None:
    """An untrusted certificate is refused, and the error says how to trust it."""
    with pytest.raises(Unreachable, match=r"its certificate is not trusted \(self-signed.*SSL_CERT_FILE"):
        ask(broker)


def test_ssl_cert_file_is_trusted(broker: str, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A company's own authority is trusted through SSL_CERT_FILE."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert ask(broker) == "a.b.c"


def test_a_server_without_tls_is_unreachable() -> None:
    """A server that does not speak TLS is Unreachable."""
    with serving(lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")) as port, pytest.raises(Unreachable):
        ask(f"https://127.0.0.1:{port}")


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_proxy_sees_no_token(  # noqa: PLR0917  fixtures
    broker: str, certificate: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str
) -> None:
    """A proxy sees the host's name and no token."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv(variable, f"{scheme}{proxy.url}")
    assert ask(broker) == "a.b.c"
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT {broker.removeprefix('https://')} HTTP/1.")
    assert "authorization" not in head.lower()
    assert SUBJECT.encode() not in bytes(proxy.passed)
    assert len(proxy.passed) > 200


def test_proxy_credentials_go_to_the_proxy(
    broker: str, certificate: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy's user and password go to the proxy alone."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:p%40ss@{proxy.url}")
    assert ask(broker) == "a.b.c"
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'me:p@ss').decode()}\r\n" in proxy.heads[0]


def test_a_proxys_refusal_is_reported(broker: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal by the proxy is reported as such."""
    proxy.answer = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:p-ss@{proxy.url}")
    with pytest.raises(Unreachable, match="407") as caught:
        ask(broker)
    assert "p-ss" not in str(caught.value)


def test_no_proxy_is_obeyed(broker: str, certificate: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host in NO_PROXY is reached directly."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.url}")
    monkeypatch.setenv("NO_PROXY", "example.com, 127.0.0.1")
    assert ask(broker) == "a.b.c"
    assert proxy.heads == []


@pytest.mark.parametrize("text", ["socks5://me:p-ss@127.0.0.1:1", "https://me:p-ss@127.0.0.1:1", "http://[::1", "http://:8080", "http://h:x"])  # fmt: skip
def test_an_unusable_proxy_is_not_quoted(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unusable proxy setting is an error that names the variable and not its password."""
    monkeypatch.setenv("HTTPS_PROXY", text)
    with pytest.raises(NotConfigured, match="HTTPS_PROXY cannot be used") as caught:
        ask("https://broker.example.com")
    assert "p-ss" not in str(caught.value)


def test_plain_http_uses_no_proxy(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain HTTP on this machine uses no proxy."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.url}")
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.url}")
    with pytest.raises(Unreachable):
        ask("http://127.0.0.1:1")
    assert proxy.heads == []
