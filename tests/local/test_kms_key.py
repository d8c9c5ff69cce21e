"""Keys that are sealed by a KMS key, over moto."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto import mock_aws

from chalicelib.aws import clients
from chalicelib.aws.data_keys import DataKeyFaultError, DataKeys
from chalicelib.errors import Unavailable
from local import kms_key, sealed_file, sealing
from local.__main__ import main
from local.provider_key_file import ProviderKeyFile
from local.signing_key_file import SigningKeyFile
from tests.local.test_machine import REAL, set_real_key, start
from tests.local.test_machine import policy as policy  # noqa: PLC0414  a fixture
from tests.running import ROOT


@pytest.fixture(autouse=True)
def arn(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A KMS key, which is named, and known to no process yet."""
    with mock_aws():
        made: str = clients.patient("kms", "eu-central-1").create_key()["KeyMetadata"]["Arn"]
        monkeypatch.setenv(sealing.KMS_VARIABLE, made)
        kms_key._UNWRAPPED.clear()
        yield made
    kms_key._UNWRAPPED.clear()


@contextlib.contextmanager
def out_of_reach(word: str = "EndpointConnectionError", *, refused: bool = False) -> Iterator[None]:
    """Have KMS say nothing meanwhile, or no."""

    def fail(*_: object, **__: object) -> object:
        raise DataKeyFaultError(word, refused=refused)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DataKeys, "_ask", fail)
        yield


def test_what_is_sealed_by_kms_is_read_again(tmp_path: Path) -> None:
    """With a KMS key nothing of a file can be read on the disk, and a process that knows nothing asks KMS for its key."""
    path, found = tmp_path / "keys.json", set()
    for _ in range(3):
        sealed_file.write(path, '{"value": "sk-real"}')
        assert sealed_file.read(path) == '{"value": "sk-real"}'
        found.add(path.read_text())
    assert len(found) == 3
    assert not any("sk-real" in one or "value" in one for one in found)
    assert sealed_file.write_once(path, "other") == '{"value": "sk-real"}'
    kms_key._UNWRAPPED.clear()
    assert sealed_file.read(path) == '{"value": "sk-real"}'


def test_kms_is_asked_at_the_start_alone(tmp_path: Path) -> None:
    """Who knows a file's data key reads and writes without KMS, and so do the processes that it starts."""
    path = tmp_path / "keys.json"
    sealed_file.write(path, "one")
    known = kms_key.unwrapped()
    with out_of_reach():
        sealed_file.write(path, sealed_file.read(path) + ", two")
        kms_key._UNWRAPPED.clear()
        with pytest.raises(Unavailable, match="kms_unavailable"):
            sealed_file.read(path)
        kms_key.know(known)
        assert sealed_file.read(path) == "one, two"
        sealed_file.write(path, "three")
        with pytest.raises(Unavailable, match="kms_unavailable"):
            sealed_file.write(tmp_path / "new.json", "sk-real")
    assert not (tmp_path / "new.json").exists()


def test_what_was_changed_is_refused(tmp_path: Path) -> None:
    """Changed, cut off, or under another file's name, a sealed file is refused, and nothing of it is quoted."""
    path, other = tmp_path / "keys.json", tmp_path / "other.json"
    sealed_file.write(path, "sk-real")
    sealed = path.read_text()
    wrapped, _, rest = sealed.partition(".")
    texts = [
        sealed[:40],
        f"{wrapped}.",
        f"{wrapped}.AAAA",
        f"{wrapped}.é",
        f"{wrapped[:-9]}AAAAAAAA=.{rest}",
        f"{wrapped[:19]}é.{rest}",
    ]
    for text, target in [(sealed, other), *((text, path) for text in texts)]:
        target.write_text(text)
        target.chmod(0o600)
        kms_key._UNWRAPPED.clear()
        with pytest.raises(Unavailable, match="kms_key_unusable") as caught:
            sealed_file.read(target)
        assert "sk-real" not in caught.value.hint


def test_another_way_to_seal_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arn: str) -> None:
    """A file that a KMS key sealed is refused to who names none, a passphrase, another key, or both at once."""
    path, phrase = tmp_path / "keys.json", tmp_path / "passphrase"
    sealed_file.write(path, "sk-real")
    phrase.write_text("correct horse battery staple")
    phrase.chmod(0o600)
    other = clients.patient("kms", "eu-central-1").create_key()["KeyMetadata"]["Arn"]
    for key, file, said in (
        ("", "", "is sealed by a KMS key"),
        ("", str(phrase), "is sealed by a KMS key"),
        (arn, str(phrase), "name one of them"),
        ("alias/keys", "", "not the ARN of a KMS key"),
        (f"{other[:-12]}000000000000", "", "NotFoundException"),
    ):
        monkeypatch.setenv(sealing.KMS_VARIABLE, key)
        monkeypatch.setenv(sealing.FILE_VARIABLE, file)
        with pytest.raises(Unavailable, match="kms_key_unusable") as caught:
            sealed_file.read(path)
        assert said in caught.value.hint
        if key:
            with pytest.raises(Unavailable, match="kms_key_unusable"):
                sealed_file.write(tmp_path / "new.json", "sk-real")
    assert not (tmp_path / "new.json").exists()


def test_a_start_seals_by_kms(
    tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arn: str
) -> None:
    """A start with a KMS key seals both files; without KMS nothing starts, in one line, and nothing is in the clear."""
    monkeypatch.delenv(sealing.KMS_VARIABLE)
    machine = start(tmp_path / "state", REAL, policy)
    set_real_key(machine)
    kid = SigningKeyFile(machine.directory / "signing-key.pem").kid()
    monkeypatch.setenv(sealing.KMS_VARIABLE, arn)
    with out_of_reach("AccessDeniedException", refused=True), pytest.raises(Unavailable, match="kms_key_unusable"):
        start(tmp_path / "state", REAL, policy)
    start(tmp_path / "state", REAL, policy)
    files = [machine.directory / name for name in ("signing-key.pem", "provider-keys.json")]
    assert not any(word in file.read_text() for file in files for word in ("sk-real", "PRIVATE KEY", "openai"))
    kms_key._UNWRAPPED.clear()
    assert SigningKeyFile(files[0]).kid() == kid
    assert ProviderKeyFile(files[1]).get("openai", "real-1").value == "sk-real"
    kms_key._UNWRAPPED.clear()
    with out_of_reach():
        assert main(["serve", "--check", "--no-practice", "--state", str(machine.directory)]) == 1
        assert main(["state", "check", "--state", str(machine.directory)]) == 1
    said = capsys.readouterr().err
    assert (
        said.splitlines()
        == [
            f"error: kms_unavailable ({arn} did not answer: EndpointConnectionError)",
        ]
        * 2
    )


@pytest.mark.slow
def test_a_server_without_kms_ends(tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose KMS is out of reach ends with one line and the exit code 1, within seconds."""
    start(tmp_path / "state", REAL, policy)
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:9")  # where nothing listens
    command = [
        sys.executable,
        "-m",
        "local",
        "serve",
        "--no-practice",
        "--port",
        "0",
        "--state",
        str(tmp_path / "state"),
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (1, "")
    [line] = ended.stderr.splitlines()
    assert line.startswith("error: cannot start: kms_unavailable (arn:aws:kms:")
