"""Keys that are sealed anew, by something else, or by nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from moto import mock_aws

from chalicelib.aws import clients
from chalicelib.errors import Unavailable
from local import directory_lock, kms_key, sealing
from local.machine import Machine
from local.provider_key_file import ProviderKeyFile
from local.signing_key_file import SigningKeyFile
from tests.local.state_commands import Output, backed_up, content, do, killed
from tests.local.test_machine import REAL, events, start

pytestmark = pytest.mark.slow  # each seal takes the time that keeps a passphrase from being guessed
FILES = ("signing-key.pem", "provider-keys.json")


def passphrase(path: Path, text: str) -> Path:
    """Write a passphrase's file."""
    path.write_text(text)
    path.chmod(0o600)
    return path


class Passphrases(NamedTuple):
    """The files of two passphrases."""

    old: Path
    new: Path


@pytest.fixture
def files(tmp_path: Path) -> Passphrases:
    """Two passphrases."""
    return Passphrases(
        passphrase(tmp_path / "old", "correct horse battery staple"),
        passphrase(tmp_path / "new", "another horse battery staple"),
    )


@pytest.fixture
def kms() -> Iterator[str]:
    """The ARN of a KMS key."""
    with mock_aws():
        yield clients.patient("kms", "eu-central-1").create_key()["KeyMetadata"]["Arn"]
    kms_key._UNWRAPPED.clear()


def name(monkeypatch: pytest.MonkeyPatch, file: object = "", arn: str = "") -> None:
    """Have the environment name what the keys are sealed by."""
    monkeypatch.setenv(sealing.FILE_VARIABLE, str(file))
    monkeypatch.setenv(sealing.KMS_VARIABLE, arn)


def opened(machine: Machine) -> tuple[str, str]:
    """Return the keys as a start has them."""
    key = ProviderKeyFile(machine.directory / "provider-keys.json").get("openai", "real-1").value
    return SigningKeyFile(machine.directory / "signing-key.pem").kid(), key


def in_the_clear(machine: Machine) -> list[str]:
    """Return the names of files in which a key can be read."""
    found = content(machine.directory)
    return sorted(
        one for one, text in found.items() if isinstance(text, bytes) and (b"sk-real" in text or b"PRIVATE" in text)
    )


def test_keys_are_sealed_by_one_and_then_another(
    machine: Machine, capsys: Output, monkeypatch: pytest.MonkeyPatch, files: Passphrases, kms: str
) -> None:
    """What is in the clear is sealed, and sealed by another passphrase, a KMS key, and by nothing, and stays the same."""
    keys, where = opened(machine), ("--state", machine.directory)
    passphrases: tuple[tuple[str, object, str, str], ...] = (
        ("--passphrase-file", files.old, "passphrase", ""),
        ("--passphrase-file", files.new, "passphrase", ""),
        ("--kms-key", kms, "kms", kms),
        ("", "", "kms", kms),
        ("--passphrase-file", files.old, "passphrase", ""),
    )
    for option, value, by, arn in passphrases:
        arguments = (option, value) if option else ()
        before = [(machine.directory / one).read_bytes() for one in FILES]
        code, done, said = do(capsys, "seal", *where, *arguments)
        assert (code, done["sealed_by"], done["files"]) == (0, by, [*FILES]), said
        assert ("from now on every start needs " in said) == bool(arguments)
        assert in_the_clear(machine) == []
        assert not {*before} & {(machine.directory / one).read_bytes() for one in FILES}
        name(monkeypatch, "" if arn else value, arn)
        assert opened(machine) == keys
        assert do(capsys, "check", *where)[1]["sealed_by"] == by
    code, done, said = do(capsys, "unseal", *where)
    assert (code, done["sealed_by"], in_the_clear(machine)) == (0, None, sorted(FILES))
    assert "the next start seals them again" in said
    name(monkeypatch)
    assert opened(machine) == keys
    assert do(capsys, "check", *where)[1]["sealed_by"] is None
    assert [one.detail["by"] for one in events(machine, "state.sealed")] == [
        "nothing",
        "passphrase",
        *2 * ["kms"],
        *2 * ["passphrase"],
    ]
    assert {(machine.directory / one).stat().st_mode & 0o777 for one in FILES} == {0o600}


def test_a_data_key_is_made_anew(machine: Machine, capsys: Output, monkeypatch: pytest.MonkeyPatch, kms: str) -> None:
    """A seal by the same KMS key is by another data key: who had the old one reads nothing of what is written from now on."""
    name(monkeypatch, arn=kms)
    found = set()
    for _ in range(2):
        assert do(capsys, "seal", "--state", machine.directory)[0] == 0
        found |= {(machine.directory / one).read_text().partition(".")[0] for one in FILES}
    assert len(found) == 4


def test_a_wrong_passphrase_changes_nothing(
    machine: Machine, capsys: Output, monkeypatch: pytest.MonkeyPatch, files: Passphrases
) -> None:
    """Keys that cannot be opened, or a new passphrase of no use, are one line, and both files stay as they were."""
    name(monkeypatch, files.old)
    assert do(capsys, "seal", "--state", machine.directory)[0] == 0
    before = content(machine.directory)
    short = passphrase(machine.directory.parent / "short", "short")
    for named, arguments, said in (
        ("", ("seal", "--passphrase-file", files.new), "passphrase_unusable ("),
        (files.new, ("seal",), "passphrase_unusable ("),
        (files.new, ("unseal",), "passphrase_unusable ("),
        ("", ("seal",), "passphrase_unusable (name --passphrase-file, "),
        (files.old, ("seal", "--passphrase-file", short), f"passphrase_unusable ({short}: it has fewer"),
        (files.old, ("seal", "--passphrase-file", short.with_name("none")), "secret_file_unreadable ("),
        (files.old, ("seal", "--kms-key", "alias/x"), "kms_key_unusable (not the ARN"),
    ):
        name(monkeypatch, named)
        code, out, error = do(capsys, *arguments, "--state", machine.directory)
        assert (code, out, len(error.splitlines())) == (1, None, 1), error
        assert error.startswith(f"error: {said}")
        assert content(machine.directory) == before


def test_a_served_directory_is_not_sealed(machine: Machine, capsys: Output, files: Passphrases) -> None:
    """A seal is refused while a server uses the directory: it would go on by what it was started with."""
    before = content(machine.directory)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(writing)
        directory_lock.hold(machine.directory)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    try:
        for verb in (("seal", "--passphrase-file", files.old), ("unseal",)):
            while not _is_held(machine.directory):
                pass
            code, _, said = do(capsys, *verb, "--state", machine.directory)
            assert (code, len(said.splitlines())) == (1, 1)
            assert said.startswith("error: state_in_use (")
    finally:
        os.close(writing)
        os.waitpid(child, 0)
    assert content(machine.directory) == before


def _is_held(directory: Path) -> bool:
    return any(f":{directory.stat().st_ino} " in line for line in Path("/proc/locks").read_text().splitlines())


def test_nothing_is_left_in_the_clear(machine: Machine, capsys: Output, files: Passphrases) -> None:
    """What killed writes left beside the keys is removed, and copies of before are named."""
    for one in FILES:
        (machine.directory / f".{one}.abc").write_text("sk-real")
    assert do(capsys, "restore", backed_up(capsys, machine), "--state", machine.directory)[0] == 0
    code, _, said = do(capsys, "seal", "--passphrase-file", files.old, "--state", machine.directory)
    [aside] = machine.directory.glob("before-restore-*")
    assert (code, said.splitlines()[0]) == (
        0,
        f"warning: {aside} holds the keys as they were: delete it, and old backups",
    )
    assert {Path(one).parts[0] for one in in_the_clear(machine)} == {aside.name}


def test_a_start_removes_what_was_left(machine: Machine, policy: Path) -> None:
    """A start removes keys that a killed write left beside their file."""
    for one in FILES:
        (machine.directory / f".{one}.abc").write_text("sk-old")
    for one in (".restore-abc", ".seal-abc"):
        (machine.directory / one / "new").mkdir(parents=True)
        (machine.directory / one / "new" / "signing-key.pem").write_text("secret")
    start(machine.directory, REAL, policy, alone=True)
    assert [one.name for one in machine.directory.glob(".*")] == []


@pytest.mark.parametrize("before", ["sealed", "in the clear"])
def test_a_seal_that_is_killed(
    machine: Machine, capsys: Output, monkeypatch: pytest.MonkeyPatch, files: Passphrases, before: str
) -> None:
    """A seal that is killed at any step leaves both files as they were, or both sealed anew, once the next start is done."""
    if before == "sealed":
        name(monkeypatch, files.old)
        assert do(capsys, "seal", "--state", machine.directory)[0] == 0
    else:
        files.old.unlink()
    found = killed(machine.directory.parent, "seal")
    by = [one["by"] for one in found]
    assert len(found) > 20
    assert by == sorted(by, reverse=True)  # first the old one, from one step on the new one
    assert {*by} == {"old", "new"}
    assert {one["value"] for one in found} == {"sk-real"}
    assert found[-1]["left"] == found[-1]["clear"] == []
    if before == "sealed":
        assert [one["clear"] for one in found if one["clear"]] == []


def test_a_mixed_directory_is_said(
    machine: Machine, capsys: Output, monkeypatch: pytest.MonkeyPatch, files: Passphrases
) -> None:
    """Of two files that were sealed by different passphrases, none is used, and none is changed."""
    name(monkeypatch, files.old)
    assert do(capsys, "seal", "--state", machine.directory)[0] == 0
    signing = (machine.directory / "signing-key.pem").read_bytes()
    assert do(capsys, "seal", "--passphrase-file", files.new, "--state", machine.directory)[0] == 0
    (machine.directory / "signing-key.pem").write_bytes(signing)
    for named in files:
        name(monkeypatch, named)
        assert do(capsys, "unseal", "--state", machine.directory)[0] == 1
        with pytest.raises(Unavailable, match="passphrase_unusable"):
            opened(machine)
