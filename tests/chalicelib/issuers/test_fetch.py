"""One JSON document over HTTP, from servers that are slow, large, elsewhere or not who they say they are."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chalicelib.issuers.errors import FetchError
from chalicelib.issuers.fetch import DOCUMENT_LIMIT, get_json
from tests.issuer_site import HEADERS, SLOW, Answer, Handler, Site, fetches_end, raw, sending, serving

BRIEF = 0.15
"""Seconds within which the slow ones do not answer."""
AMPLE = 5.0


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as one:
        yield one


@pytest.mark.parametrize("how", SLOW)
def test_slow_site_is_cut_off(site: Site, how: str) -> None:
    """A slow site is given up in time, and its connection is cut."""
    site.answers["/slow"] = SLOW[how]
    started = time.monotonic()
    with pytest.raises(FetchError, match="too_slow"):
        get_json(f"{site.url}/slow", BRIEF)
    assert time.monotonic() - started < BRIEF + 3
    assert fetches_end()


def test_no_server() -> None:
    """A server that is not there is a fetch error."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(FetchError, match="unreachable"):
        get_json(url, AMPLE)


def test_name_lookup_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name lookup that hangs counts against the deadline."""
    looked_up = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        looked_up.wait(5)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    started = time.monotonic()
    with pytest.raises(FetchError, match="too_slow"):
        get_json("https://issuer.test/", BRIEF)
    assert time.monotonic() - started < BRIEF + 3
    looked_up.set()
    assert fetches_end()


@pytest.mark.parametrize("drip", [b"", b"\x16"], ids=["silent", "dripping"])
def test_tls_handshake_hangs(drip: bytes) -> None:
    """A TLS handshake that hangs counts against the deadline, and is cut."""
    # A record's head that promises 16 KiB, of which one byte comes at a time.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = threading.Event()

        def greet() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"\x16\x03\x03\x40\x00" if drip else b"")
                while not closed.wait(0.02):
                    connection.sendall(drip)

        greeter = threading.Thread(target=greet)
        greeter.start()
        started = time.monotonic()
        with pytest.raises(FetchError, match="too_slow"):
            get_json(f"https://127.0.0.1:{listener.getsockname()[1]}/", BRIEF)
        assert time.monotonic() - started < BRIEF + 3
        assert fetches_end()
        closed.set()
        greeter.join()


def test_no_time_left(site: Site) -> None:
    """With no time left, no request is made."""
    with pytest.raises(FetchError, match="too_slow"):
        get_json(f"{site.url}/keys", 0)
    assert site.asked == []


# Large


@pytest.mark.parametrize("framing", ["content-length", "close", "chunked"])
def test_size_limit(site: Site, framing: str) -> None:
    """A document may have 100 KiB and not a byte more."""

    def padded(size: int) -> Answer:
        body = b'{"keys": []}'.ljust(size)
        if framing == "chunked":
            chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
            return sending(HEADERS, b"transfer-encoding: chunked\r\n\r\n", chunks)
        return raw(body) if framing == "content-length" else sending(HEADERS, b"\r\n", body)

    site.answers["/fits"], site.answers["/large"] = padded(DOCUMENT_LIMIT), padded(DOCUMENT_LIMIT + 1)
    assert get_json(f"{site.url}/fits", AMPLE) == {"keys": []}
    with pytest.raises(FetchError, match="too_large"):
        get_json(f"{site.url}/large", AMPLE)


def test_endless_document(site: Site) -> None:
    """An endless document is left at the limit."""
    sent = []

    def pour(handler: Handler) -> None:
        handler.wfile.write(HEADERS + b"\r\n")
        while not handler.site.closing.is_set():
            sent.append(handler.wfile.write(b" " * 65536))

    site.answers["/pour"] = pour
    with pytest.raises(FetchError, match="too_large"):
        get_json(f"{site.url}/pour", AMPLE)
    assert fetches_end()
    assert sum(sent) < 32 * 1024 * 1024  # what the kernel's buffers took, and no more


@pytest.mark.parametrize(
    "body",
    ['{"keys": [], "keys": []}', '{"n": NaN}', "\ufeff{}", '{"\\ud800": 1}', "9" * 5000, "[" * 50_000],
    ids=["repeated", "NaN", "byte order mark", "surrogate", "digits", "depth"],
)
def test_json_is_strict(site: Site, body: str) -> None:
    """A document that parsers read in different ways is malformed."""
    site.answers["/odd"] = raw(body.encode())
    with pytest.raises(FetchError, match="malformed"):
        get_json(f"{site.url}/odd", AMPLE)


def test_compression(site: Site) -> None:
    """Compression is neither asked for nor undone."""
    bomb = gzip.compress(b'{"keys": []}'.ljust(50 * 1024 * 1024))
    assert len(bomb) < DOCUMENT_LIMIT
    site.answers["/bomb"] = raw(bomb, content_encoding="gzip")
    with pytest.raises(FetchError, match="malformed"):
        get_json(f"{site.url}/bomb", AMPLE)
    assert site.accepted == ["identity"]


# TLS


def certificate(folder: Path, name: str, until: dt.timedelta = dt.timedelta(days=1)) -> Path:
    """Make a certificate for `name` that vouches for itself; return the file with it and its key. until: from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    today = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + until)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / f"{name}.pem"
    file.write_bytes(key.private_bytes(*plain) + made.public_bytes(serialization.Encoding.PEM))
    return file


@contextlib.contextmanager
def serving_tls(file: Path) -> Iterator[int]:
    """Answer one connection with TLS under this certificate; yields the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    def answer() -> None:
        with contextlib.suppress(OSError):
            plain, _ = listener.accept()
            with plain, context.wrap_socket(plain, server_side=True) as connection:
                connection.recv(65536)
                connection.sendall(HEADERS + b"content-length: 12\r\n\r\n" + b'{"keys": []}')

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_system_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS trusts the system's certificate authorities."""
    file = certificate(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with serving_tls(file) as port:
        assert get_json(f"https://localhost:{port}/keys", AMPLE) == {"keys": []}


def test_self_signed_certificate(tmp_path: Path) -> None:
    """A certificate of no known authority is refused."""
    with (
        serving_tls(certificate(tmp_path, "localhost")) as port,
        pytest.raises(FetchError, match="unreachable_certificate"),
    ):
        get_json(f"https://localhost:{port}/keys", AMPLE)


def test_certificate_for_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate for another name is refused."""
    file = certificate(tmp_path, "issuer.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with serving_tls(file) as port, pytest.raises(FetchError, match="unreachable_certificate"):
        get_json(f"https://localhost:{port}/keys", AMPLE)
