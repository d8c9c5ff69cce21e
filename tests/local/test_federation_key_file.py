"""The file of keys that prove an installation to providers: made once, sealed as others are, and never quoted."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jwt
import pytest

from chalicelib.federation.assertion import AHEAD_SECONDS, BEHIND_SECONDS
from local.__main__ import main
from local.errors import FederationKeysUnusable
from local.federation_key_file import FederationKeyFile
from local.machine import Machine
from tests.federated import app_key
from tests.local.state_commands import Output

NOW = 1_800_000_000


@pytest.fixture
def file(tmp_path: Path) -> FederationKeyFile:
    """A file that is not there yet."""
    return FederationKeyFile(tmp_path / "federation-keys.json")


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_what_is_signed_verifies(file: FederationKeyFile, algorithm: str) -> None:
    """Claims are signed with the published key of the algorithm that a provider takes."""
    signed = file.sign({"sub": "x"}, [algorithm], NOW)
    header = jwt.get_unverified_header(signed)
    [key] = [one for one in file.published(NOW) if one.kid == header["kid"]]
    assert (header["typ"], header["alg"]) == ("JWT", algorithm)
    assert jwt.PyJWS().decode(signed, jwt.PyJWK(dict(key.jwk)), algorithms=[algorithm])
    assert not {"d", "p", "q"} & key.jwk.keys()


def test_it_is_the_owners_alone(file: FederationKeyFile, tmp_path: Path) -> None:
    """Nobody else may read it, and before any need of it there is none."""
    assert file.published(NOW) == ()
    file.sign({}, ["ES256"], NOW)
    assert stat.S_IMODE((tmp_path / "federation-keys.json").stat().st_mode) == 0o600


def test_made_once(file: FederationKeyFile) -> None:
    """Of many that need it first at the same time, one makes it."""
    with ThreadPoolExecutor(8) as pool:
        signed = list(pool.map(lambda _: file.sign({}, ["ES256"], NOW), range(8)))
    assert len({jwt.get_unverified_header(one)["kid"] for one in signed}) == 1


def test_a_new_key_waits(file: FederationKeyFile) -> None:
    """A new key is published before it signs, and the one before it for as long as anything of it may be looked up."""

    def signs(now: int) -> str:
        return str(jwt.get_unverified_header(file.sign({}, ["ES256"], now))["kid"])

    first = signs(NOW)
    file.rotate(NOW)
    assert signs(NOW + AHEAD_SECONDS - 1) == first
    second = signs(NOW + AHEAD_SECONDS)
    assert second != first
    end = NOW + AHEAD_SECONDS + BEHIND_SECONDS
    assert first in {one.kid for one in file.published(end - 1)}
    assert first not in {one.kid for one in file.published(end)}
    file.rotate(end)
    assert first not in (file._path).read_text()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"keys": [{}], "apps": {}}', "-----BEGIN PRIVATE KEY-----\nsecret"])
def test_a_file_of_no_use_is_not_quoted(file: FederationKeyFile, tmp_path: Path, text: str) -> None:
    """A file that is none is refused, and nothing of it is quoted."""
    path = tmp_path / "federation-keys.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(FederationKeysUnusable, match=r"^federation_keys_unusable$") as refused:
        file.sign({}, ["ES256"], NOW)
    assert "secret" not in refused.value.hint
    assert refused.value.__cause__ is None


def test_commands(machine: Machine, capsys: Output, tmp_path: Path) -> None:
    """An App's key is kept, and new keys are published at once and sign later."""
    pem = tmp_path / "app.pem"
    pem.write_text(app_key()[0])
    pem.chmod(0o600)
    state = ["--state", str(machine.directory)]
    assert main(["state", "app-key", str(pem), "--client", "Iv1", *state]) == 0
    assert FederationKeyFile(machine.directory / "federation-keys.json").app_key("Iv1") == app_key()[0]
    capsys.readouterr()
    assert main(["state", "rotate-federation", *state]) == 0
    assert len(json.loads(capsys.readouterr().out)["published"]) == 2


@pytest.mark.parametrize(
    "text", ["", "sk-secret", "-----BEGIN RSA PRIVATE KEY-----\nsecret\n-----END RSA PRIVATE KEY-----\n"]
)
def test_what_is_no_key_is_not_quoted(machine: Machine, capsys: Output, tmp_path: Path, text: str) -> None:
    """What is no private key of an App is refused in one line that has nothing of it."""
    pem = tmp_path / "app.pem"
    pem.write_text(text)
    pem.chmod(0o600)
    assert main(["state", "app-key", str(pem), "--client", "Iv1", "--state", str(machine.directory)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "secret" not in said.err
