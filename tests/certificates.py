"""Certificates for tests: self-signed, for 127.0.0.1 and localhost, until a fixed day."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from local.configuration import TlsFiles

ENDS = int(datetime(2131, 1, 1, tzinfo=UTC).timestamp())
PRIVATE = b"-----BEGIN " + b"PRIVATE KEY-----"


def write(directory: Path, ends: int | None = None, names: Sequence[str] = ("localhost",)) -> TlsFiles:
    """Write a new pair into a directory, which is made. ends: epoch seconds; None: ENDS. names: beside 127.0.0.1."""
    directory.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        _unsigned("localhost", key, ENDS if ends is None else ends)
        .add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, names), here]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = TlsFiles(directory / "certificate.pem", directory / "key.pem")
    files.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files.key.touch(mode=0o600)
    files.key.write_bytes(pem(key))
    return files


def append_issuer(files: TlsFiles, ends: int) -> None:
    """Append another certificate to the chain, as of an authority between. ends: epoch seconds."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = _unsigned("Between", key, ends).sign(key, hashes.SHA256())
    with files.certificate.open("ab") as file:
        file.write(made.public_bytes(serialization.Encoding.PEM))


def _unsigned(name: str, key: ec.EllipticCurvePrivateKey, ends: int) -> x509.CertificateBuilder:
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime.fromtimestamp(ends, UTC))
    )


def pem(key: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    """Return a private key as text."""
    encrypted = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encrypted)
