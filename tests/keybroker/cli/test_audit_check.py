"""`keybroker audit check|head`, over the administration's own views and a state file that a test changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from keybroker.cli import audit_check, program, server
from keybroker.cli.admin_client import AdminClient
from tests.http_door import admin_door
from tests.keybroker.cli.keybroker_command import administrator, run
from tests.parts import Parts
from tests.running import Running


@pytest.fixture
def broker(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """A broker that has issued two tokens, behind the client."""
    door = admin_door(parts)

    def get(_self: AdminClient, path: str, query: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401  JSON
        texts = {name: str(value) for name, value in (query or {}).items() if value is not None}
        return door.administer("GET", path, query=texts).json

    monkeypatch.setattr(AdminClient, "get", get)
    monkeypatch.setenv("KEYBROKER_URL", "http://127.0.0.1:9")
    for number in range(2):
        parts.exchange(request_id=f"r-{number}")
    return parts


def command(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    capfd.readouterr()
    code = program.run(["audit", *arguments])
    return code, capfd.readouterr().out


def change(broker: Parts, statement: str) -> None:
    with broker.state.writing() as connection:
        connection.execute(statement)


def test_as_it_was_written(broker: Parts, capfd: pytest.CaptureFixture[str]) -> None:
    """The check says how many events are in the chain, and that it is unbroken."""
    code, out = command(capfd, "check")
    count = broker.ledger.head(None).seq
    assert (code, f"{count} events in {count} links" in out, "unbroken  yes" in out) == (0, True, True)


def test_a_changed_event_is_named(broker: Parts, capfd: pytest.CaptureFixture[str]) -> None:
    """An event that was changed and one that is missing are named, and the exit code is 1."""
    (event, *_) = broker.events(kind="token.issued")
    change(broker, "UPDATE audit SET principal = 'x' WHERE seq = (SELECT max(seq) FROM audit)")
    code, out = command(capfd, "check")
    assert (code, "unbroken  no" in out) == (1, True)
    assert [line.split()[:3] for line in out.splitlines() if line.startswith("changed")] == [
        ["changed", str(broker.ledger.head(None).seq), event.id]
    ]
    code, out = command(capfd, "check", "--output", "json")
    assert (code, [one["id"] for one in json.loads(out)["chain"]["items"]]) == (1, [event.id])


def test_a_published_head(broker: Parts, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A head of before is part of the history, or is said to be of another one, of a longer one, or of one that was cut."""
    code, head = command(capfd, "head")
    (tmp_path / "heads").write_text(f"0:{'0' * 64}\n{head}")
    assert (code, json.loads(head).keys()) == (0, {"seq", "hash", "at"})
    broker.exchange(request_id="r-3")
    for given in (str(tmp_path / "heads"), head, "{seq}:{hash}".format(**json.loads(head))):
        code, out = command(capfd, "check", "--head", given)
        assert (code, "is the one that it was made of" in out) == (0, True)
    assert command(capfd, "check", "--head", f"1:{'a' * 64}")[0] == 1
    found = json.loads(command(capfd, "check", "--head", f"1:{'a' * 64}", "--output", "json")[1])
    assert found["chain"]["head"] == "other"
    change(broker, "DELETE FROM audit WHERE seq >= (SELECT max(seq) - 1 FROM audit)")
    code, out = command(capfd, "check", "--head", head)
    assert (code, "FEWER events" in out, "truncated" in out) == (1, True, True)
    change(broker, "UPDATE audit_chain SET seq = 99")
    assert "cannot be compared" in command(capfd, "check", "--head", head)[1]


@pytest.mark.parametrize("head", ["", "x", "{}", "[]", "1:abc", '{"seq": 1}', f"-1:{'a' * 64}", "/nonexistent"])
def test_what_is_no_head(broker: Parts, capfd: pytest.CaptureFixture[str], head: str) -> None:
    """Anything else is not a head: it is said before anything is asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdminClient, "get", None)
        assert command(capfd, "check", f"--head={head}") == (1, "") or head == ""
    assert broker.ledger.check_chain("").faults == ()


def test_many_faults(broker: Parts, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many faults the first are shown."""
    monkeypatch.setattr(audit_check, "_SHOWN", 2)
    for number in range(4):
        broker.exchange(request_id=f"x-{number}")
    change(broker, "UPDATE audit SET principal = 'x'")
    code, out = command(capfd, "check")
    assert (code, out.count("changed")) == (1, 2)


def test_head_of_a_directory_is_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """`audit head --state` goes on to the server."""
    started: list[tuple[str, tuple[str, ...]]] = []
    monkeypatch.setattr(server, "start", lambda name, arguments: started.append((name, arguments)))
    assert program.run(["audit", "head", "--state", "x"]) == 0
    assert started == [("audit", ("head", "--state", "x"))]


@pytest.mark.slow
def test_check_over_the_api(running: Running) -> None:
    """Over a running broker the chain is whole."""
    running.token("8521")
    head = run("audit", "head", environ=administrator(running))
    done = run("audit", "check", "--window", "hour", "--head", head.out, environ=administrator(running))
    assert (head.code, done.code, "unbroken  yes" in done.out) == (0, 0, True), done
