"""`python -m local admins`, and what a real installation says of its administrators."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from local.__main__ import main
from local.machine import Machine
from tests.local.test_machine import POLICY, REAL, events, start
from tests.local.test_machine import policy as policy  # noqa: PLC0414  a fixture
from tests.running import Running
from tests.running import start as serve

Output = pytest.CaptureFixture[str]


@pytest.fixture
def machine(tmp_path: Path, policy: Path) -> Machine:
    """A real installation that does not run now."""
    return start(tmp_path / "state", REAL, policy)


def _admins(capsys: Output, machine: Machine, *arguments: str) -> tuple[int, str, str]:
    code = main(["admins", *arguments, "--state", str(machine.directory)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_add_list_remove(machine: Machine, capsys: Output) -> None:
    """What is added is listed until it is removed; secrets stay in files, and each change is in the audit."""
    code, out, _ = _admins(capsys, machine, "add", "ada")
    added = json.loads(out)
    secret = json.loads(Path(added["file"]).read_text())["secret_access_key"]
    assert (code, added["name"]) == (0, "ada")
    listed = _admins(capsys, machine, "list")[1]
    assert [one["name"] for one in json.loads(listed)] == ["admin", "ada"]
    assert _admins(capsys, machine, "remove", "ada")[:2] == (0, '{\n  "removed": "ada"\n}\n')
    assert not Path(added["file"]).exists()
    assert secret not in out + listed
    [made], [gone] = events(machine, "admin.added"), events(machine, "admin.removed")
    assert made.detail == {"name": "ada", "access_key_id": added["access_key_id"]}
    assert gone.detail == {"name": "ada"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a directory to another user")
@pytest.mark.parametrize(
    "command",
    ["admins list", "admins add ada", "admins remove admin", "state rotate-federation", "audit head", "audit export"],
)
def test_another_user_changes_nothing(machine: Machine, capsys: Output, command: str) -> None:
    """Another user would leave files there that the server cannot read: everybody but the owner is refused, root too."""
    os.chown(machine.directory, 12345, 12345)
    before = set(machine.directory.rglob("*"))
    since = ["--since", "0", "--until", "1"] if command.endswith("export") else []
    code = main([*command.split(), *since, "--state", str(machine.directory)])
    said = capsys.readouterr()
    assert (code, said.out, "state_of_another_user" in said.err) == (1, "", True)
    assert set(machine.directory.rglob("*")) <= before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "admin"), "already"),
        (("add", "Ada"), "lower-case"),
        (("remove", "ada"), "there is no administrator 'ada'; there are: admin"),
    ],
)
def test_nonsense_is_not_acknowledged(machine: Machine, capsys: Output, arguments: tuple[str, str], said: str) -> None:
    """What cannot be done is said in one line, exits with 1 and leaves no event."""
    code, out, error = _admins(capsys, machine, *arguments)
    assert (code, out) == (1, "")
    assert said in error
    assert [*events(machine, "admin.added"), *events(machine, "admin.removed")] == []


def test_the_last_one_is_missed(machine: Machine, capsys: Output) -> None:
    """Removing the last administrator is done, and said."""
    code, _, error = _admins(capsys, machine, "remove", "admin")
    assert code == 0
    assert "no administrator is left" in error


def test_no_state_is_one_line(tmp_path: Path, capsys: Output) -> None:
    assert main(["admins", "list", "--state", str(tmp_path)]) == 1
    assert "no_state_directory" in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_installation_shows_no_secret(tmp_path: Path, capsys: Output) -> None:
    """A real start announces a file; who is added is let in by name, and refused once removed, without a restart."""
    with serve("--no-practice", policy=POLICY, directory=tmp_path) as running:
        assert running.admin.keys() == {"access_key_id", "file", "region"}
        assert not running.request_token
        first = {**running.admin, **json.loads(Path(running.admin["file"]).read_text())}
        assert main(["admins", "add", "ada", "--state", str(running.state)]) == 0
        ada = {**first, **json.loads((running.state / "admins" / "ada.json").read_text())}
        body = {"scope": "key", "id": "openai", "reason": "a drill"}
        assert _as(running, ada).administer("POST", "/admin/revocations", body).status == 201
        [made] = _as(running, first).administer("GET", "/admin/revocations").json["items"]
        assert made["author"] == "arn:aws:iam::000000000000:user/ada"
        assert main(["admins", "remove", "ada", "--state", str(running.state)]) == 0
        assert _as(running, ada).administer("GET", "/admin/audit").status == 403
        assert _as(running, first).administer("GET", "/admin/audit").status == 200
        shown = running.log.read_text() + capsys.readouterr().out
        assert not any(one["secret_access_key"] in shown for one in (ada, first))
        assert "practice" not in shown.lower()


def _as(running: Running, admin: dict[str, str]) -> Running:
    running.admin = admin
    return running
