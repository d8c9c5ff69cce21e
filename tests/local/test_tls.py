"""TLS from two files: what is refused, and how a certificate is renewed while connections come."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from local.configuration import TlsFiles
from local.errors import CertificateExpired, TlsUnusable
from local.tls import Listener, Pair, Renewal
from tests import certificates
from tests.certificates import ENDS, PRIVATE, pem, write

NOW = ENDS - 86400
CHAIN_ENDS = int(datetime(2130, 6, 1, tzinfo=UTC).timestamp())


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


DAY = 86400


@pytest.mark.parametrize(
    ("lifetime", "left", "said"),
    [
        (90 * DAY, 14 * DAY + 1, None),
        (90 * DAY, 14 * DAY, "expires on 1970-04-01 00:00 UTC, in 14 days: renew it"),
        (90 * DAY, 1.5 * DAY, "expires on 1970-04-01 00:00 UTC, in 1 day: renew it"),
        (90 * DAY, 3599, "expires on 1970-04-01 00:00 UTC, in less than an hour: renew it"),
        (90 * DAY, 0, "expired on 1970-04-01 00:00 UTC, and callers refuse it: renew it"),
        (
            DAY,
            DAY + 1,
            "is valid from 1970-03-31 00:00 UTC on, and callers refuse it until then: look at the clock, too",
        ),
        (6 * DAY, DAY + 1, None),
        (6 * DAY, DAY - 1, "expires on 1970-04-01 00:00 UTC, in 23 hours: renew it"),
    ],
)
def test_an_end_that_comes_near_is_said(lifetime: int, left: float, said: str | None) -> None:
    """It is said in the last fourteen days, or in the last sixth of a shorter life."""
    ends = 90 * DAY
    found = Pair(b"", b"", ends - lifetime, ends).warning(Path("tls/c.pem"), ends - left)
    assert found == (said and f"tls/c.pem {said}")


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (14 * DAY + 1, None),
        (14 * DAY, "expires on 2130-06-01 00:00 UTC, in 14 days: renew the chain"),
        (0, "expired on 2130-06-01 00:00 UTC, and callers may refuse it: renew the chain"),
    ],
)
def test_a_chain_that_ends_first_is_said(tmp_path: Path, left: int, said: str | None) -> None:
    """A chain of which another one ends before the certificate is served, and its end is said with whose it is."""
    files = write(tmp_path)
    certificates.append_issuer(files, CHAIN_ENDS)
    certificates.append_issuer(files, ENDS - 1)
    found = Pair.read(files, CHAIN_ENDS - left).warning(files.certificate, CHAIN_ENDS - left)
    assert found == (said and f"{files.certificate}: CN=Between in its chain {said}")


def test_a_chain_that_ends_last_is_not_said(tmp_path: Path) -> None:
    """Of a chain that outlives the certificate nothing is said: it is renewed with it."""
    now = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    files = write(tmp_path, ends=now + 2000 * DAY)
    certificates.append_issuer(files, now + 2000 * DAY)
    assert Pair.read(files, now + 1600 * DAY).warning(files.certificate, now + 1600 * DAY) is None


def test_the_end_of_a_chain_is_said_once_a_day(tmp_path: Path) -> None:
    """It comes once a day, and once more when it has come."""
    now = [CHAIN_ENDS - 2.0 * DAY + 1]
    files = write(tmp_path)
    certificates.append_issuer(files, CHAIN_ENDS)
    renewal = Renewal(files, lambda: now[0])
    said = []
    for _ in range(24 * 3):
        said.append(renewal.warning())
        now[0] += 3600
    assert [hour for hour, one in enumerate(said) if one] == [0, 24, 48]
    assert "expired" in str(said[48])


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """A pipe without a writer holds up no start, no check and no renewal."""
    files = write(tmp_path)
    files.key.unlink()
    os.mkfifo(files.key, 0o600)
    with pytest.raises(TlsUnusable) as caught:
        Pair.read(files, NOW)
    assert caught.value.hint == f"{files.key} is no file"


def test_a_file_beyond_its_limit_is_refused(tmp_path: Path) -> None:
    """A chain is read whole or not at all."""
    files = write(tmp_path)
    with files.certificate.open("ab") as file:
        file.write(b"\n" * 65_536)
    with pytest.raises(TlsUnusable) as caught:
        Pair.read(files, NOW)
    assert caught.value.hint == f"{files.certificate} is over 65536 bytes"


def test_a_warning_comes_once_a_day(tmp_path: Path) -> None:
    """It comes once a day, once more when the certificate has ended, and no more once there is another one."""
    now = [ENDS - 14.0 * DAY - 1]
    renewal = Renewal(write(tmp_path), lambda: now[0])
    said = []
    for hours in range(24 * 16):
        now[0] = ENDS - 14.0 * DAY - 1 + hours * 3600
        said.append(renewal.warning())
    days = [hour for hour, one in enumerate(said) if one]
    assert days == [1 + 24 * day for day in range(14)] + [24 * 14 + 1, 24 * 15 + 1]
    assert [str(said[hour]).split()[1] for hour in days] == ["expires"] * 14 + ["expired"] * 2
    write(tmp_path, ends=ENDS + 200 * DAY)
    assert renewal.renew(asked=False)
    assert renewal.warning() is None
