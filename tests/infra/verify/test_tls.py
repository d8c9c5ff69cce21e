"""Which versions of TLS a server takes, over real handshakes."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from infra.verify.by_calls import takes_old_tls
from infra.verify.installed import FailedError, NotCheckedError

KEY_BITS = 2048


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that is signed by itself, and its key, in one file. RSA, as TLS 1.1 wants it."""
    key = rsa.generate_private_key(65537, KEY_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    signed = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    file = tmp_path_factory.mktemp("tls") / "edge.pem"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(key.private_bytes(*form) + signed.public_bytes(serialization.Encoding.PEM))
    return file


@contextlib.contextmanager
def server(context: ssl.SSLContext | None) -> Iterator[int]:
    """Yield the port of a server that takes one connection; without a context it closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                if context:
                    context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(10)


def context(certificate: Path, version: ssl.TLSVersion) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    made.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        made.minimum_version = version
    return made


def test_a_server_of_tls_1_2_passes(certificate: Path) -> None:
    with server(context(certificate, ssl.TLSVersion.TLSv1_2)) as port:
        takes_old_tls("127.0.0.1", port)


def test_a_server_that_takes_tls_1_1_fails(certificate: Path) -> None:
    """What the program sends could be taken: the refusal that passes is the server's, not OpenSSL's here."""
    with (
        server(context(certificate, ssl.TLSVersion.TLSv1_1)) as port,
        pytest.raises(FailedError, match="a handshake by TLS 1\\.1 succeeds"),
    ):
        takes_old_tls("127.0.0.1", port)


def test_no_answer_is_neither() -> None:
    """A server that just closes the connection has not refused TLS 1.1."""
    with server(None) as port, pytest.raises(NotCheckedError, match="no answer to a handshake"):
        takes_old_tls("127.0.0.1", port)
