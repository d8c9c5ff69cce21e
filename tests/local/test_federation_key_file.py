"""The file of keys that prove an installation to providers: made once, sealed as others are, and never quoted."""

from __future__ import annotations

import json
import stat
import time
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


def test_a_key_that_waits_longer(file: FederationKeyFile) -> None:
    """A new key may be published for longer before it signs, and the one before it signs meanwhile and is published after."""
    [first] = {file.sign({}, ["ES256"], NOW): 0}
    old = jwt.get_unverified_header(first)["kid"]
    week = 7 * 86_400
    published = file.rotate(NOW, week)
    assert {one.signs for one in published} == {NOW, NOW + week}
    for passed, is_old in ((AHEAD_SECONDS, True), (week - 1, True), (week, False)):
        assert (jwt.get_unverified_header(file.sign({}, ["ES256"], NOW + passed))["kid"] == old) is is_old
    assert old in {one.kid for one in file.published(NOW + week + BEHIND_SECONDS - 1)}
    assert old not in {one.kid for one in file.published(NOW + week + BEHIND_SECONDS)}


def test_what_leaked_is_gone(file: FederationKeyFile, tmp_path: Path) -> None:
    """Keys that leaked are in no key set and in no file any more, prepared ones neither, and new ones sign at once."""
    file.set_app_key("Iv1", app_key()[0])
    file.sign({}, ["ES256"], NOW)
    leaked = {one.kid for one in file.rotate(NOW)}
    assert len(leaked) == 4
    new = {one.kid for one in file.replace(NOW + 1)}
    assert leaked.isdisjoint(new)
    assert {one.kid for one in file.published(NOW + 1)} == new
    for algorithm in ("ES256", "RS256"):
        assert jwt.get_unverified_header(file.sign({}, [algorithm], NOW + 1))["kid"] in new
    assert not [kid for kid in leaked if kid in (tmp_path / "federation-keys.json").read_text()]
    assert file.apps() == ("Iv1",)


def test_a_file_of_before(file: FederationKeyFile, tmp_path: Path) -> None:
    """In a file that does not say how long a key waits, it waits for twenty minutes."""
    file.make(NOW)
    path = tmp_path / "federation-keys.json"
    stored = json.loads(path.read_text())
    for one in stored["keys"]:
        del one["ahead"]
    path.write_text(json.dumps(stored))
    assert {one.signs for one in file.published(NOW)} == {NOW + AHEAD_SECONDS}


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
    first = json.loads(capsys.readouterr().out)
    assert len(first["published"]) == 2
    assert main(["state", "rotate-federation", "--sign-after", "2d", *state]) == 0
    later = json.loads(capsys.readouterr().out)
    assert len(later["published"]) == 4
    assert 172_700 < later["sign_from"] - first["sign_from"] < 172_900
    assert main(["state", "rotate-federation", "--leaked", *state]) == 0
    said = capsys.readouterr()
    leaked = json.loads(said.out)
    assert len(leaked["published"]) == 2
    assert leaked["sign_from"] <= time.time()
    assert "trust the stolen keys until they look again" in said.err
    assert "give it the new one now" in said.err
    assert "the key of the App Iv1 was in the same file" in said.err


@pytest.mark.parametrize("given", ["19m", "8d", "1199s", "0", "20", "-20m", "1w", "999999999999d"])
def test_a_wait_that_providers_do_not_allow(machine: Machine, capsys: Output, given: str) -> None:
    """A new key signs after twenty minutes at the earliest, since providers keep key sets, and within a week."""
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["state", "rotate-federation", f"--sign-after={given}", "--state", str(machine.directory)])
    assert "must be 20m to 7d, not" in capsys.readouterr().err
    assert not (machine.directory / "federation-keys.json").exists()


def test_leaked_keys_wait_for_nothing(machine: Machine, capsys: Output) -> None:
    """What leaked is replaced at once, or not by this command."""
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["state", "rotate-federation", "--leaked", "--sign-after", "1h", "--state", str(machine.directory)])
    assert "not allowed with" in capsys.readouterr().err


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
