"""TLS from two files: what is refused, and how a certificate is renewed while connections come."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from local.configuration import TlsFiles
from local.errors import CertificateExpired, TlsUnusable
from local.tls import Listener, Pair, Renewal
from tests.certificates import ENDS, PRIVATE, pem, write

NOW = ENDS - 86400


def served(listener: Listener, files: TlsFiles) -> bytes:
    """Return the certificate that a client gets which trusts that of the files, and names no server."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.load_verify_locations(files.certificate)
    trusting.check_hostname = False
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):

        def serve() -> None:
            with listener.context.wrap_socket(theirs, server_side=True) as one:
                one.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with trusting.wrap_socket(ours) as one:
            found = one.getpeercert(binary_form=True)
            one.send(b"x")
            thread.join(10)
    assert found is not None
    return ssl.DER_cert_to_PEM_cert(found).encode()


def test_a_pair_is_served_and_replaced(tmp_path: Path) -> None:
    """From the renewal on, new connections get the new certificate, with its own key."""
    first, second = write(tmp_path / "first"), write(tmp_path / "second")
    listener = Listener(Pair.read(first, NOW))
    assert served(listener, first) == first.certificate.read_bytes()
    listener.use(Pair.read(second, NOW))
    assert served(listener, second) == second.certificate.read_bytes()


def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    """From its last second on, a certificate is refused with its day."""
    files = write(tmp_path)
    assert Pair.read(files, ENDS - 1).ends == ENDS
    with pytest.raises(CertificateExpired) as caught:
        Pair.read(files, ENDS)
    assert caught.value.hint == f"{files.certificate} expired on 2131-01-01 00:00 UTC: renew it"


@pytest.mark.parametrize("name", ["certificate", "key"])
@pytest.mark.parametrize("text", [None, b"", b"notes", PRIVATE + b"\nAA==\n"])
def test_files_of_no_use_are_refused(tmp_path: Path, name: str, text: bytes | None) -> None:
    """A file that is missing, empty or of something else is refused with its name."""
    files = write(tmp_path)
    path: Path = getattr(files, name)
    path.unlink() if text is None else path.write_bytes(text)
    with pytest.raises(TlsUnusable, match="tls_unusable") as caught:
        Pair.read(files, NOW)
    assert str(path) in caught.value.hint


@pytest.mark.parametrize("password", [None, b"secret"], ids=["another", "encrypted"])
def test_a_key_is_not_quoted(tmp_path: Path, password: bytes | None) -> None:
    """A key of another certificate, or one with a passphrase, is refused without a question and without its text."""
    files = write(tmp_path)
    files.key.write_bytes(pem(ec.generate_private_key(ec.SECP256R1()), password))
    with pytest.raises(TlsUnusable) as caught:
        Pair.read(files, NOW)
    assert "is not the private key of" in caught.value.hint
    assert caught.value.__cause__ is None
    assert PRIVATE.decode() not in caught.value.hint


def test_a_change_is_seen_once(tmp_path: Path) -> None:
    """The files are read again when they change, or when that is asked for; a fault is told once, and changes nothing."""
    files, others = write(tmp_path / "one"), write(tmp_path / "other")
    renewal = Renewal(files, lambda: NOW)
    before = renewal.pair
    assert not renewal.renew(asked=False)
    assert renewal.renew(asked=True)
    files.key.replace(tmp_path / "kept")
    os.link(others.key, files.key)
    with pytest.raises(TlsUnusable):
        renewal.renew(asked=False)
    assert not renewal.renew(asked=False)
    assert renewal.pair == before
    files.certificate.write_bytes(others.certificate.read_bytes())
    assert renewal.renew(asked=False)
    assert renewal.pair == Pair.read(others, NOW)


def test_a_repr_has_no_key(tmp_path: Path) -> None:
    """What is shown of a pair has no key in it."""
    assert "PRIVATE" not in repr(Pair.read(write(tmp_path), NOW))
