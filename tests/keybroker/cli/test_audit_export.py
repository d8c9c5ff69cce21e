"""`keybroker audit export --since-cursor …`: over a broker that says what a test gave it, and over a real one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from keybroker.cli import audit_export, export_cursor, program
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.command_error import LOCAL, QUOTA, REFUSED, REMOTE, CommandError
from keybroker.tries import Tries
from tests.keybroker.cli.keybroker_command import administrator, run
from tests.running import Running

NOW = 1_800_000_000


class Broker:
    """The administration's audit: events, newest first, in pages of three; `faults` are raised first."""

    def __init__(self, *events: tuple[int, str]) -> None:
        self.events = list(events)
        self.faults: list[CommandError] = []
        self.asked: list[Mapping[str, object]] = []

    def get(self, path: str, query: Mapping[str, Any]) -> Any:  # noqa: ANN401  JSON
        assert path == "/admin/audit"
        self.asked.append(query)
        if self.faults:
            raise self.faults.pop()
        found = sorted((one for one in self.events if query["since"] <= one[0] < query["until"]), reverse=True)
        start = int(query.get("after") or 0)
        items = [self._item(at, name, query) for at, name in found[start : start + 3]]
        return {"items": items, "next": str(start + 3) if start + 3 < len(found) else None}

    @staticmethod
    def _item(at: int, name: str, query: Mapping[str, Any]) -> dict[str, Any]:
        if query.get("format") == "ocsf":
            return {"time": at * 1000, "metadata": {"uid": name}}
        return {"at": at, "id": name}


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """A broker with three events, and a time of two minutes and some later."""
    one = Broker((NOW - 900, "a"), (NOW - 200, "b"), (NOW - 130, "c"))
    monkeypatch.setattr(AdminClient, "get", lambda _self, path, query: one.get(path, query))
    monkeypatch.setenv("KEYBROKER_URL", "http://127.0.0.1:9")
    at(monkeypatch, NOW)
    return one


def at(monkeypatch: pytest.MonkeyPatch, now: int) -> None:
    monkeypatch.setattr("keybroker.cli.audit_export.time.time", lambda: float(now))
    monkeypatch.setattr(Tries.__init__, "__defaults__", (lambda: 0.0, lambda _seconds: None))


def export(directory: Path, *more: str) -> tuple[int, list[str]]:
    """Run it; return the exit code, and the ids in the output."""
    code = program.run(
        ["audit", "export", "--since-cursor", str(directory / "cursor"), "--output", str(directory / "out"), *more]
    )
    lines = (directory / "out").read_text().splitlines() if (directory / "out").exists() else []
    return code, [json.loads(line).get("id") or json.loads(line)["metadata"]["uid"] for line in lines]


def test_each_event_once_oldest_first(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next export goes on where the last one ended, and takes what was written late in between."""
    assert export(tmp_path) == (0, ["a", "b", "c"])
    broker.events += [(NOW - 210, "late"), (NOW - 125, "d"), (NOW - 10, "too new")]
    at(monkeypatch, NOW + 60)
    assert export(tmp_path) == (0, ["a", "b", "c", "late", "d"])
    at(monkeypatch, NOW + 700)
    assert export(tmp_path) == (0, ["a", "b", "c", "late", "d", "too new"])
    kept = json.loads((tmp_path / "cursor").read_text())
    assert (kept["until"], kept["seen"]) == (NOW + 580, {})


def test_it_stays_behind(broker: Broker, tmp_path: Path) -> None:
    """What is younger than the lag waits for the next export; --lag says how much."""
    broker.events.append((NOW - 119, "young"))
    assert export(tmp_path) == (0, ["a", "b", "c"])
    assert export(tmp_path, "--lag", "60") == (0, ["a", "b", "c", "young"])


def test_ocsf_and_claims(broker: Broker, tmp_path: Path) -> None:
    """The format and the claims are asked for; without --with-claims nobody's claims are sent."""
    assert export(tmp_path, "--format", "ocsf") == (0, ["a", "b", "c"])
    assert {(one.get("format"), one["claims"]) for one in broker.asked} == {("ocsf", "false")}
    broker.asked.clear()
    export(tmp_path, "--with-claims")
    assert {(one.get("format"), one["claims"]) for one in broker.asked} == {(None, "true")}


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("point", ["lines", "half a line", "cursor"])
def test_a_killed_export_loses_nothing(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, after: int
) -> None:
    """Killed (SIGKILL) at any point, the next export completes the file: no event is missing, none is there twice."""
    monkeypatch.setattr(audit_export, "SLICE", 64)
    assert export(tmp_path, "--lag", "500") == (0, ["a"])
    broker.events.append((NOW - 131, "x"))
    child = os.fork()
    if child == 0:
        _export_and_die(tmp_path, point, after)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert export(tmp_path) == (0, ["a", "b", "x", "c"])


def _export_and_die(directory: Path, point: str, after: int) -> NoReturn:
    write, left = export_cursor.write, [after]

    def dying(path: Path, cursor: export_cursor.Cursor) -> None:
        left[0] -= 1
        if left[0] == 0:
            if point == "half a line":
                with (directory / "out").open("ab") as file:
                    file.write(b'{"id": "c", "a')
            if point == "cursor":
                write(path, cursor)
            os.kill(os.getpid(), signal.SIGKILL)
        write(path, cursor)

    export_cursor.write = dying
    export(directory)
    os._exit(0)


def test_another_file_is_left_alone(broker: Broker, tmp_path: Path) -> None:
    """A file that was put in the output's place, as by logrotate, is written from its end, never cut."""
    export(tmp_path, "--lag", "500")
    (tmp_path / "out").rename(tmp_path / "out.1")
    (tmp_path / "out").write_text('{"id": "others"}\n' * 9)
    assert export(tmp_path) == (0, ["others"] * 9 + ["b", "c"])
    assert broker.faults == []


def test_busy_and_failing_are_retried(broker: Broker, tmp_path: Path) -> None:
    """A 429 or a 503 is asked again; what lasts ends the export with its exit code, and the next one goes on."""
    broker.faults = [CommandError(QUOTA, "busy"), CommandError(REMOTE, "failing")]
    assert export(tmp_path) == (0, ["a", "b", "c"])
    broker.events.append((NOW - 122, "d"))
    broker.faults = [CommandError(REMOTE, "down")] * 9
    assert export(tmp_path) == (REMOTE, ["a", "b", "c"])
    broker.faults = [CommandError(REFUSED, "no")]
    assert export(tmp_path) == (REFUSED, ["a", "b", "c"])
    assert export(tmp_path) == (0, ["a", "b", "c", "d"])


def test_much_is_read_in_short_slices(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is more than may be held, shorter times are read, down to a second."""
    monkeypatch.setattr(audit_export, "MOST", 4)
    broker.events = [(NOW - 400 + number // 6, f"e{number:03}") for number in range(60)]
    assert export(tmp_path) == (0, [name for _, name in broker.events])


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"until": 1, "seen": [], "size": 0, "file": [1, 2]}'])
def test_what_is_no_cursor(broker: Broker, tmp_path: Path, content: str) -> None:
    """Any other file is not taken for a cursor, and stays as it is."""
    (tmp_path / "cursor").write_text(content)
    assert export(tmp_path) == (LOCAL, [])
    assert ((tmp_path / "cursor").read_text(), broker.asked) == (content, [])


def test_a_time_is_a_cursor(broker: Broker, capfd: pytest.CaptureFixture[str]) -> None:
    """With a time nothing is kept, and without --output the events are on stdout."""
    assert program.run(["audit", "export", "--since-cursor", str(NOW - 200)]) == 0
    out, err = capfd.readouterr()
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["b", "c"]
    assert err == "exported: 2 events, up to 2027-01-15 07:58:00Z\n"
    assert len(broker.asked) == 1


def test_an_export_is_for_its_owner(broker: Broker, tmp_path: Path) -> None:
    """The file that an export makes can be read by its owner alone."""
    previous = os.umask(0)
    try:
        export(tmp_path)
    finally:
        os.umask(previous)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600
    assert broker.asked


@pytest.mark.slow
def test_export_over_the_api(running: Running, tmp_path: Path) -> None:
    """Over a running broker: OCSF in one file, and a second export adds what came since."""
    running.token("8511")
    arguments = ("audit", "export", "--since-cursor", "cursor", "--output", "out", "--lag", "0", "--format", "ocsf")
    environ = administrator(running)
    assert run(*arguments, environ=environ, cwd=tmp_path).code == 0
    first = (tmp_path / "out").read_text().splitlines()
    running.token("8511")
    found = first_found = [json.loads(line) for line in first]
    for _ in range(9):  # what happens in the second of an export is in the next one
        assert run(*arguments, environ=environ, cwd=tmp_path).code == 0
        found = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
        if len(found) > len(first_found):
            break
    assert len(found) > len(first_found)
    issued = [one for one in found if one.get("user", {}).get("uid") == running.sub("8511")]
    assert [one["type_uid"] for one in issued if one["metadata"]["event_code"] == "token.issued"][:1] == [300203]
    assert len({one["metadata"]["uid"] for one in found}) == len(found)
