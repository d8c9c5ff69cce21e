"""The signing key of one machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from chalicelib.errors import Unavailable
from chalicelib.tokens import jws
from chalicelib.tokens import verify as tokens
from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.tokens.jwk import thumbprint
from local import secret_file
from local.signing_key import SigningKey
from local.signing_key_file import MOST_KEYS, SigningKeyFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the key of this test is."""
    return tmp_path / "signing-key.pem"


def _write(path: Path, key: PrivateKeyTypes, password: bytes | None = None) -> None:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    secret_file.write(path, pem.decode())


def _reason(path: Path) -> str:
    with pytest.raises(Unavailable) as caught:
        SigningKeyFile(path)
    return caught.value.reason


def test_a_key_is_made_once_and_read_ever_after(path: Path) -> None:
    made = SigningKeyFile.create(path)
    assert SigningKeyFile.create(path).kid() == SigningKeyFile(path).kid() == made.kid()


def test_its_id_is_the_thumbprint_of_rfc_7638(path: Path) -> None:
    key = SigningKeyFile.create(path)
    members = {name: key.public_jwk[name] for name in ("kty", "crv", "x", "y")}
    assert key.kid() == key.public_jwk["kid"] == thumbprint(members)


def test_what_is_published_is_the_public_half_alone(path: Path) -> None:
    published = SigningKeyFile.create(path).public_jwk
    assert set(published) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (published["use"], published["alg"], published["crv"]) == ("sig", "ES256", "P-256")


def test_what_it_signs_verifies_with_the_key_that_it_gives(path: Path) -> None:
    key = SigningKeyFile.create(path)
    claims: dict[str, object] = {"iss": "https://us", "aud": "openai", "iat": 100, "exp": 200}
    text = key.begin({"typ": "at+jwt", "kid": key.kid()}, claims).result()
    unverified = jws.parse(text)
    assert (unverified.typ, unverified.alg) == ("at+jwt", "ES256")
    expected = tokens.Expected("https://us", "openai", 3600, frozenset({tokens.ISSUED_TYPE}))
    assert tokens.verify(unverified, key.find(unverified.kid, 150), expected, 150) == claims


def test_another_key_s_id_is_not_found(path: Path) -> None:
    with pytest.raises(InvalidTokenError, match="kid_unknown"):
        SigningKeyFile.create(path).find("another", 0)


def test_a_missing_key_is_unavailable(path: Path) -> None:
    assert _reason(path) == "secret_file_unreadable"


def test_a_key_that_others_can_read_is_refused(path: Path) -> None:
    SigningKeyFile.create(path)
    path.chmod(0o640)
    assert _reason(path) == "secret_file_open_to_others"
    with pytest.raises(Unavailable, match="secret_file_open_to_others"):
        SigningKeyFile.create(path)


@pytest.mark.parametrize("text", ["", "not a key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_file_that_holds_no_key_is_refused(path: Path, text: str) -> None:
    secret_file.write(path, text)
    assert _reason(path) == "signing_key_malformed"


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["P-384", "secp256k1", "RSA", "Ed25519"],
)
def test_a_key_of_another_kind_is_refused(path: Path, key: PrivateKeyTypes) -> None:
    _write(path, key)
    assert _reason(path) == "signing_key_malformed"


def test_an_encrypted_key_is_refused(path: Path) -> None:
    _write(path, ec.generate_private_key(ec.SECP256R1()), b"a password")
    assert _reason(path) == "signing_key_malformed"


def test_another_process_s_key_is_found(path: Path) -> None:
    """A key that another process has made is found once it is asked for, and one that it deleted is used no more."""
    here = SigningKeyFile.create(path)
    first, other = here.kid(), SigningKeyFile(path)
    made = other.spare(frozenset([first]))
    assert here.kid(made) == made
    claims: dict[str, object] = {"iss": "https://us"}
    text = here.begin({"typ": "at+jwt", "kid": made}, claims).result()
    assert tokens.verify_signature(jws.parse(text), other.find(made, 0)).claims == claims
    other.keep_only([made])
    assert (other.published(), here.published(), here.kid()) == ((made,), (made,), made)


def test_a_spare_key_is_made_once(path: Path) -> None:
    """A key that was made and never listed is taken before another is made, and their number is bounded."""
    keys = SigningKeyFile.create(path)
    known = frozenset([keys.kid()])
    assert keys.spare(known) == keys.spare(known)
    for _ in range(MOST_KEYS - 1):
        known |= {keys.spare(known)}
    with pytest.raises(Unavailable, match=r"^signing_key_malformed$"):
        keys.spare(known)
    assert len(keys.published()) == MOST_KEYS


def test_the_last_key_is_not_forgotten(path: Path) -> None:
    """A file without a key would be no file of keys, so the last one stays."""
    keys = SigningKeyFile.create(path)
    keys.keep_only([])
    assert len(SigningKeyFile(path).published()) == 1


def test_an_unknown_key_signs_nothing(path: Path) -> None:
    """Where the state names a key that is not in the file, nothing is signed."""
    keys = SigningKeyFile.create(path)
    with pytest.raises(Unavailable, match=r"^signing_unavailable$"):
        keys.kid("another")


@pytest.mark.parametrize("cut", ["half", "between", "twice_half"])
def test_a_file_of_keys_alone(path: Path, cut: str) -> None:
    """A file with half a key, or with anything between its keys, is not read in part."""
    keys = SigningKeyFile.create(path)
    keys.spare(frozenset([keys.kid()]))
    text = path.read_text()
    half = len(text) // 2
    secret_file.write(
        path, {"half": text[:-40], "between": text[:half] + "x\n" + text[half:], "twice_half": text + text[:60]}[cut]
    )
    assert _reason(path) == "signing_key_malformed"


def test_a_signing_key_s_repr_has_no_key(path: Path) -> None:
    """Neither a key nor the file shows the private half."""
    keys = SigningKeyFile.create(path)
    shown = repr(SigningKey(path.read_text())) + repr(keys)
    assert not [line for line in path.read_text().splitlines() if "-----" not in line and line in shown]
