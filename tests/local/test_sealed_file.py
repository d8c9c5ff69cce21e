"""Keys that are encrypted at rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chalicelib.errors import Unavailable
from local import sealed_file, sealing
from local.__main__ import main
from local.machine import Machine
from local.provider_key_file import ProviderKeyFile
from local.signing_key_file import SigningKeyFile
from tests.local.test_machine import REAL, set_real_key, start
from tests.local.test_machine import policy as policy  # noqa: PLC0414  a fixture

PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A passphrase's file, which is named."""
    path = tmp_path / "passphrase"
    path.write_text(PASSPHRASE + "\n")
    path.chmod(0o600)
    monkeypatch.setenv(sealing.FILE_VARIABLE, str(path))
    return path


@pytest.mark.usefixtures("passphrase")
def test_what_is_sealed_is_read_again(tmp_path: Path) -> None:
    """With a passphrase nothing of a file can be read on the disk, and the same text is written differently each time."""
    path, found = tmp_path / "keys.json", set()
    for _ in range(3):
        sealed_file.write(path, '{"value": "sk-real"}')
        assert sealed_file.read(path) == '{"value": "sk-real"}'
        found.add(path.read_text())
    assert len(found) == 3
    assert not any("sk-real" in one or "value" in one for one in found)
    assert sealed_file.write_once(path, "other") == '{"value": "sk-real"}'


def test_another_passphrase_opens_nothing(tmp_path: Path, passphrase: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another passphrase or none, changed, cut off, or under another file's name, it is refused and quotes nothing."""
    path = tmp_path / "keys.json"
    sealed_file.write(path, "sk-real")
    sealed = path.read_text()
    other = tmp_path / "other.json"
    for text, target in (
        (sealed, other),
        (sealed[:60], path),
        (sealed[:-6] + "AAAA==", path),
        (sealed[:19] + "é", path),
    ):
        target.write_text(text)
        target.chmod(0o600)
        with pytest.raises(Unavailable, match="passphrase_unusable") as caught:
            sealed_file.read(target)
        assert "sk-real" not in caught.value.hint
    path.write_text(sealed)
    passphrase.write_text("another horse battery staple")
    with pytest.raises(Unavailable, match="passphrase_unusable"):
        sealed_file.read(path)
    monkeypatch.delenv(sealing.FILE_VARIABLE)
    with pytest.raises(Unavailable, match="passphrase_unusable") as caught:
        sealed_file.read(path)
    assert PASSPHRASE not in caught.value.hint


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [("short", 0o600, "passphrase_unusable"), (PASSPHRASE, 0o644, "secret_file_open_to_others"), ("", 0o600, "passphrase_unusable")],
)  # fmt: skip
def test_a_passphrase_of_no_use_stops_a_write(
    tmp_path: Path, passphrase: Path, text: str, mode: int, reason: str
) -> None:
    """A passphrase that is short, or open to others, is refused, and nothing is written in the clear."""
    passphrase.write_text(text)
    passphrase.chmod(mode)
    with pytest.raises(Unavailable, match=reason):
        sealed_file.write(tmp_path / "keys.json", "sk-real")
    assert not (tmp_path / "keys.json").exists()


def test_a_credential_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A passphrase may come as systemd's credential, whose mode is systemd's affair."""
    (tmp_path / sealing.CREDENTIAL).write_text(PASSPHRASE)
    (tmp_path / sealing.CREDENTIAL).chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    sealed_file.write(tmp_path / "keys.json", "sk-real")
    assert "sk-real" not in (tmp_path / "keys.json").read_text()
    assert sealed_file.read(tmp_path / "keys.json") == "sk-real"


def test_the_next_start_seals(tmp_path: Path, policy: Path, passphrase: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start with a passphrase seals both files, and one without it is refused and writes nothing in the clear."""
    monkeypatch.delenv(sealing.FILE_VARIABLE)
    machine = start(tmp_path / "state", REAL, policy)
    set_real_key(machine)
    kid = SigningKeyFile(machine.directory / "signing-key.pem").kid()
    monkeypatch.setenv(sealing.FILE_VARIABLE, str(passphrase))
    machine = start(tmp_path / "state", REAL, policy)
    files = [machine.directory / name for name in ("signing-key.pem", "provider-keys.json")]
    for file in files:
        assert not any(word in file.read_text() for word in ("sk-real", "PRIVATE KEY", "openai"))
        assert file.stat().st_mode & 0o777 == 0o600
    assert SigningKeyFile(files[0]).kid() == kid
    assert ProviderKeyFile(files[1]).get("openai", "real-1").value == "sk-real"
    before = [file.read_text() for file in files]
    monkeypatch.delenv(sealing.FILE_VARIABLE)
    with pytest.raises(Unavailable, match="passphrase_unusable"):
        start(tmp_path / "state", REAL, policy)
    assert [file.read_text() for file in files] == before


@pytest.mark.usefixtures("passphrase")
def test_a_backup_stays_sealed(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup holds the keys as they are stored, and is of no use without the passphrase."""
    machine: Machine = start(tmp_path / "state", REAL, policy)
    set_real_key(machine)
    assert main(["state", "backup", str(tmp_path / "backup"), "--state", str(machine.directory)]) == 0
    assert b"sk-real" not in (tmp_path / "backup").read_bytes()
    assert main(["state", "check", str(tmp_path / "backup")]) == 0
    capsys.readouterr()
    monkeypatch.delenv(sealing.FILE_VARIABLE)
    assert main(["state", "check", str(tmp_path / "backup")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: passphrase_unusable (")
    assert len(said.splitlines()) == 1
    assert json.dumps("sk-real") not in said
