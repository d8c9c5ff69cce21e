"""`serve --check` finds what would stop a start, and changes nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from local.__main__ import main
from tests import certificates
from tests.local.test_machine import POLICY, REAL, start

Output = pytest.CaptureFixture[str]


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """A configuration with everything in its place, of an installation that was started before."""
    (tmp_path / "keybroker.yaml").write_text(POLICY)
    start(tmp_path / "state", REAL, tmp_path / "keybroker.yaml")
    certificates.write(tmp_path / "tls")
    path = tmp_path / "keybroker.toml"
    path.write_text(
        'policy = "keybroker.yaml"\n[tls]\ncertificate = "tls/certificate.pem"\nkey = "tls/key.pem"\n'
        '[state]\ndirectory = "state"\n'
    )
    return path


def check(path: Path, capsys: Output) -> tuple[int, list[str]]:
    """Check a configuration; return the exit code and what was said."""
    code = main(["serve", "--config", str(path), "--check"])
    said = capsys.readouterr()
    assert said.out == ""
    return code, said.err.splitlines()


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below a directory; of a database what is in it, since SQLite moves it between files as it likes."""
    files = (one for one in directory.rglob("*") if one.is_file() and not one.name.endswith(("-wal", "-shm")))
    return {str(one): dump(one) if one.suffix == ".db" else one.read_bytes() for one in files}


def dump(database: Path) -> bytes:
    """What is in a database."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return "\n".join(connection.iterdump()).encode()


def test_a_good_installation(configuration: Path, capsys: Output) -> None:
    """It says what was read and which keys are not set, and leaves every file as it was."""
    before = contents(configuration.parent)
    code, said = check(configuration, capsys)
    assert code == 0
    assert all(line.startswith("ok: ") for line in said)
    assert any(line.endswith("these keys are not set: openai") for line in said)
    assert contents(configuration.parent) == before


def test_nothing_is_made(configuration: Path, capsys: Output) -> None:
    """Where there is no state yet, none is made."""
    state = configuration.parent / "state"
    state.rename(configuration.parent / "elsewhere")
    code, said = check(configuration, capsys)
    assert (code, said[-1]) == (0, f"ok: {state} is made at the start")
    assert not state.exists()


def test_all_faults_are_told(configuration: Path, capsys: Output) -> None:
    """Policy, certificate and state are looked at each, whatever is wrong with another."""
    directory = configuration.parent
    (directory / "keybroker.yaml").write_text("keys: {openai: {provider: nobody}}\n")
    certificates.write(directory / "tls", ends=1_700_000_000)
    (directory / "state").chmod(0o777)
    code, said = check(configuration, capsys)
    assert code == 1
    assert all(line.startswith("error: ") for line in said)
    for word in ("certificate_expired", "keybroker.yaml:1: keys.openai.provider", "state_open_to_others"):
        assert sum(word in line for line in said) == 1, said


def test_a_policy_in_force_of_no_use(configuration: Path, capsys: Output) -> None:
    """A policy in force that this start could not use is told, with what to do."""
    text = configuration.read_text().replace('policy = "keybroker.yaml"\n', "")
    configuration.write_text(text)
    assert check(configuration, capsys)[0] == 0
    (configuration.parent / "state" / "signing-key.pem").unlink()
    code, said = check(configuration, capsys)
    assert (code, "no_policy_yet" in said[0]) == (1, True)
