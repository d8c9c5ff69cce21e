"""`serve --check` finds what would stop a start, and changes nothing."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from local import price_file, sealing, secret_file
from local.__main__ import main
from local.machine import Machine
from tests import certificates
from tests.local.test_machine import POLICY, REAL, events, set_real_key, start
from tests.running import ROOT

DOORS = ("broker", "edge", "administration")
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
        '[state]\ndirectory = "state"\n' + "".join(f"[{door}]\nlisten = '127.0.0.1:0'\n" for door in DOORS)
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
    with closing(sqlite3.connect(database)) as connection:
        return "\n".join(connection.iterdump()).encode()


def test_a_good_installation(configuration: Path, capsys: Output) -> None:
    """It says what was read and which keys are not set, and leaves every file as it was."""
    before = contents(configuration.parent)
    code, said = check(configuration, capsys)
    assert code == 0
    assert all(line.startswith("ok: ") for line in said)
    assert any(line.endswith("these keys are not set: openai") for line in said)
    assert contents(configuration.parent) == before


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o602, True), (0o640, False), (0o600, False)])
def test_a_tls_key_for_everybody(configuration: Path, capsys: Output, mode: int, *, warned: bool) -> None:
    """A key of TLS that every user of the machine can read or write is a warning, with what mends it."""
    key = configuration.parent / "tls" / "key.pem"
    key.chmod(mode)
    code, said = check(configuration, capsys)
    assert code == 0
    assert (f"warning: {key} is for every user of this machine: chmod o= {key}" in said) is warned


@pytest.mark.parametrize("lost", ["file", "value"])
def test_a_value_that_is_lost_is_not_set(configuration: Path, capsys: Output, lost: str) -> None:
    """A key whose value is in force, and not in the file of keys, is said to be not set; and of that there is no backup."""
    machine = Machine.open(configuration.parent / "state")
    set_real_key(machine)
    assert not any("not set" in line for line in check(configuration, capsys)[1])
    file = machine.directory / "provider-keys.json"
    if lost == "file":
        file.unlink()
    else:
        file.write_text("{}")
    code, said = check(configuration, capsys)
    assert (code, said[-1].partition("; ")[2]) == (0, "these keys are not set: openai")
    backup = configuration.parent / "backup"
    for arguments in (["check"], ["backup", str(backup)]):
        assert main(["state", *arguments, "--state", str(machine.directory)]) == 1
        said = capsys.readouterr().err.splitlines()
        assert said[0].startswith(f"error: provider_key_missing ({file} lacks what is in force of openai")
    assert not backup.exists()
    assert events(machine, "state.backed_up") == []


def test_a_policy_that_is_passed_over(configuration: Path, capsys: Output) -> None:
    """A file that is no use is a warning where a policy is in force, which a start leaves there, and else a fault."""
    file = configuration.parent / "keybroker.yaml"
    for faulty in (lambda: file.write_text("keys: {openai: {provider: nobody}}\n"), file.unlink):
        faulty()
        code, said = check(configuration, capsys)
        assert code == 0
        assert f"warning: {file} is no use, and passed over: the policy in force stays" in said
    (configuration.parent / "state").rename(configuration.parent / "elsewhere")
    assert check(configuration, capsys)[0] == 1


def test_a_signing_key_that_is_gone(configuration: Path, capsys: Output, caplog: pytest.LogCaptureFixture) -> None:
    """A state without its signing key is served with a new one, which ends all tokens: check and start say so."""
    state = configuration.parent / "state"
    (state / "signing-key.pem").unlink()
    code, said = check(configuration, capsys)
    text = f"warning: {state / 'signing-key.pem'} is missing: a start makes a new one, which ends all tokens"
    assert (code, text in said) == (0, True)
    start(state, REAL, None)
    assert "a new one is made, and all tokens end" in caplog.text
    caplog.clear()
    start(state, REAL, None)
    assert "a new one is made" not in caplog.text


def test_a_passphrase_that_is_no_use(
    configuration: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a start would seal the keys by is looked at, also where nothing is sealed yet."""
    short = tmp_path / "short"
    secret_file.write(short, "too short")
    monkeypatch.setenv(sealing.FILE_VARIABLE, str(short))
    code, said = check(configuration, capsys)
    assert (code, said) == (1, [f"error: passphrase_unusable ({short}: it has fewer than 16 characters)"])


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
    assert [line for line in said if line.startswith("ok: ")] == []
    for word in (
        "error: certificate_expired",
        f"warning: {directory / 'keybroker.yaml'}:1: keys.openai.provider",
        "error: state_open_to_others",
    ):
        assert sum(line.startswith(word) for line in said) == 1, said


def test_provider_keys_are_read(configuration: Path, capsys: Output) -> None:
    """A file of provider keys that a start could not use is told with its name, and nothing is made beside it."""
    keys = configuration.parent / "state" / "provider-keys.json"
    keys.write_text("")
    before = contents(configuration.parent)
    code, said = check(configuration, capsys)
    assert (code, len(said)) == (1, 1)
    assert said[0].startswith(f"error: provider_keys_unwritable ({keys}: it holds no keys")
    assert contents(configuration.parent) == before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '{"date": "2027-01-01", "providers": {"openai": {"m": [[0, 1, 1, 1, 1]]}}}',
            "has prices of 1 models, as of 2027-01-01",
        ),
        ("{}", "prices_unusable"),
    ],
)
def test_prices_are_read(configuration: Path, capsys: Output, text: str, told: str) -> None:
    """A file of prices that is named is read, and what is wrong with it is told before anything starts."""
    (configuration.parent / "prices.json").write_text(text)
    configuration.write_text('prices = "prices.json"\n' + configuration.read_text())
    _, said = check(configuration, capsys)
    assert sum(told in line for line in said) == 1, said


def test_our_prices_have_a_date(configuration: Path, capsys: Output) -> None:
    """Where no file is named, the date of the prices that came along is told all the same."""
    _, said = check(configuration, capsys)
    assert sum(line.endswith(f"as of {price_file.read(None).date}") for line in said) == 1, said


def test_a_policy_in_force_of_no_use(configuration: Path, capsys: Output) -> None:
    """A policy in force that this start could not use is told, with what to do."""
    text = configuration.read_text().replace('policy = "keybroker.yaml"\n', "")
    configuration.write_text(text)
    assert check(configuration, capsys)[0] == 0
    (configuration.parent / "state" / "signing-key.pem").unlink()
    code, said = check(configuration, capsys)
    assert (code, "no_policy_yet" in said[0]) == (1, True)


def listening(path: Path, place: str) -> None:
    """Say where the edge listens."""
    path.write_text(path.read_text().replace("[edge]\nlisten = '127.0.0.1:0'", f"[edge]\nlisten = '{place}'"))


def test_a_certificate_that_ends_soon(configuration: Path, capsys: Output) -> None:
    """It is a warning, with the time that is left, and no fault."""
    certificates.write(configuration.parent / "tls", ends=int(time.time()) + 3 * 86400 + 60)
    code, said = check(configuration, capsys)
    [warning] = [line for line in said if line.startswith("warning: ")]
    assert (code, warning.endswith(" UTC, in 3 days: renew it")) == (0, True)


def test_an_address_that_cannot_be_had(configuration: Path, capsys: Output) -> None:
    """An address that is taken, or is not this machine's, is a fault, in the words of a start."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        for place, said in (
            (f"127.0.0.1:{port}", f"port {port} is in use or not allowed for the edge"),
            ("192.0.2.1:1", "192.0.2.1:1 is in use or not allowed for the edge (Cannot assign"),
        ):
            text = configuration.read_text()
            listening(configuration, place)
            code, lines = check(configuration, capsys)
            configuration.write_text(text)
            assert (code, len(lines), said in lines[0]) == (1, 1, True), lines


def test_beside_a_running_server(configuration: Path, capsys: Output) -> None:
    """A server that runs has the state and its addresses: that is told, and is no fault; what is another's still is one."""
    holder = "import sys; from pathlib import Path; from local import directory_lock; directory_lock.hold(Path(sys.argv[1])); print(1, flush=True); input()"
    command = [sys.executable, "-c", holder, str(configuration.parent / "state")]
    with (
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running,
        closing(socket.create_server(("127.0.0.1", 0))) as taken,
    ):
        assert running.stdout is not None
        assert running.stdout.readline() == b"1\n"
        listening(configuration, f"127.0.0.1:{taken.getsockname()[1]}")
        code, said = check(configuration, capsys)
        assert (code, [line.partition(": ")[0] for line in said]) == (0, ["ok", "ok", "ok", "warning", "warning", "ok"])
        assert "is served now: another server starts once that one has stopped" in said[3]
        (configuration.parent / "state").chmod(0o777)
        assert check(configuration, capsys)[0] == 1
        running.kill()


def test_a_state_of_a_newer_version(configuration: Path, capsys: Output) -> None:
    """It is told with its version, and left as it is."""
    with closing(sqlite3.connect(configuration.parent / "state" / "state.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    code, said = check(configuration, capsys)
    assert (code, said[0].startswith("error: state_file_newer ("), len(said)) == (1, True, 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a directory to another user")
@pytest.mark.parametrize("is_empty", [True, False])
def test_a_state_of_another_user(configuration: Path, capsys: Output, *, is_empty: bool) -> None:
    """It is told with what to do, empty or not."""
    state = configuration.parent / "state"
    if is_empty:
        state.rename(configuration.parent / "elsewhere")
        state.mkdir(0o700)
    os.chown(state, 12345, 12345)
    code, said = check(configuration, capsys)
    hint = f"{state} belongs to user 12345: run this as that user, such as by sudo -u"
    assert (code, said) == (1, [f"error: state_of_another_user ({hint})"])


def test_no_place_for_a_state(configuration: Path, capsys: Output) -> None:
    """Where no directory can be made, that is told."""
    state = configuration.parent / "state"
    state.rename(configuration.parent / "elsewhere")
    state.write_text("notes")
    code, said = check(configuration, capsys)
    assert (code, said) == (1, [f"error: [Errno 20] Not a directory: '{state}'"])


def test_a_restore_that_was_cut_off(configuration: Path, capsys: Output) -> None:
    """It is no fault, since the start finishes it."""
    (configuration.parent / "state" / "restoring").mkdir()
    code, said = check(configuration, capsys)
    assert (code, said[-1].endswith("has a restore that was cut off, which the start finishes")) == (0, True)
