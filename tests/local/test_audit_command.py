from __future__ import annotations

import contextlib
import gc
import io
import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from chalicelib.audit import Query
from local import audit_command
from local.__main__ import main
from local.machine import Machine
from local.urls import Urls
from tests.running import POLICY, ROOT, Running


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory of a Keybroker that does not run now."""
    (tmp_path / "p.yaml").write_text(POLICY)
    urls = Urls("http://127.0.0.1:7", "http://127.0.0.1:8", "http://127.0.0.1:9", "http://127.0.0.1:9")
    Machine(tmp_path / "state", urls).prepare(
        tmp_path / "p.yaml", {"openai": "sk-o", "anthropic": "sk-a", "generic": "sk-g"}
    )
    return tmp_path / "state"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


def run(*arguments: object) -> Ended:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(["audit", *map(str, arguments)])
        except SystemExit as ended:
            code = int(str(ended.code))
    return Ended(code, out.getvalue(), err.getvalue())


def exported(state: Path, *arguments: object) -> list[dict[str, Any]]:
    one = run("export", "--state", state, *arguments)
    assert (one.code, one.stderr) == (0, "")
    return [json.loads(line) for line in one.stdout.splitlines()]


def record(state: Path, *times: int) -> list[str]:
    """Record an event at each of these times; return their ids."""
    here = Machine.open(state)
    events = [replace(here.event("policy.applied", {}), at=at) for at in times]
    for event in events:
        here.ledger().record(event)
    return [event.id for event in events]


def emptied(state: Path) -> Path:
    """Return the state without the events of its start, which are younger than those that a test records behind them."""
    with Machine.open(state).state_file().writing() as connection:
        connection.execute("DELETE FROM audit")
    return state


# export


def test_every_event_is_one_line_of_json_newest_first(state: Path) -> None:
    ids = record(state, 100, 200, 300)
    found = exported(state)
    assert [one["id"] for one in found[:3]] == ids[::-1]
    assert {one["kind"] for one in found} == {"policy.applied", "key.set"}
    assert len(found) == 6  # three of the start: the policy, and two keys


def test_an_export_has_more_events_than_a_page(state: Path) -> None:
    ids = record(state, *range(1000, 1450))
    assert [one["id"] for one in exported(state, "--until", 2000)] == ids[::-1]


def test_an_export_is_of_a_time_if_one_is_given(state: Path) -> None:
    ids = record(state, 100, 200, 300)
    assert [one["id"] for one in exported(state, "--since", 200, "--until", 300)] == [ids[1]]
    assert [one["id"] for one in exported(state, "--until", 300)] == ids[1::-1]
    assert exported(state, "--since", 99_999_999_999) == []


def test_export_reader_may_stop(state: Path) -> None:
    """The reader of an export may stop before its end."""
    record(state, *range(1000, 1300))
    command = [sys.executable, "-m", "local", "audit", "export", "--state", str(state)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"id": ')
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=20) == 1


def test_export_of_a_running_server(running: Running) -> None:
    """An export of a running server has the newest events."""
    running.token("8501")
    found = exported(running.state, "--since", int(time.time()) - 60)
    assert "token.issued" in {one["kind"] for one in found if one["principal"] == running.sub("8501")}


# check


def test_a_window_that_agrees_is_told_and_ends_with_0(running: Running) -> None:
    running.token("8502")
    one = run("check", "--state", running.state, "--window", "hour", "--start", int(time.time()))
    assert (one.code, one.stderr) == (0, "")
    found = json.loads(one.stdout)
    assert (found["window"], found["complete"], found["agree"], found["differing"]) == ("hour", True, True, [])
    assert found["issued_events"] == found["counted"] >= 1


def test_default_window_is_the_last_day(state: Path) -> None:
    """The default window is the last complete day."""
    one = run("check", "--state", state)
    found = json.loads(one.stdout)
    assert (one.code, found["window"]) == (0, "day")
    assert found["end"] == int(time.time()) // 86400 * 86400


def test_mismatch_exits_with_1(state: Path) -> None:
    """A window that differs exits with code 1 and says where."""
    here, now = Machine.open(state), int(time.time())
    lost = replace(here.event("token.issued", {}), principal="p", grant="ci", at=now)
    here.ledger().record(lost)
    one = run("check", "--state", state, "--start", now)
    assert (one.code, one.stderr) == (1, "error: the audit and the counters differ\n")
    assert json.loads(one.stdout)["differing"] == [{"principal": "p", "grant": "ci", "events": 1, "counted": 0}]


def test_a_window_whose_counters_are_not_kept_is_said(state: Path) -> None:
    one = run("check", "--state", state, "--start", 0)
    text = "error: start must not be in the future, or in a window that ended 3 days ago or earlier, whose counters may be gone\n"
    assert (one.code, one.stdout, one.stderr) == (1, "", text)


# cut


def cut(state: Path, *arguments: object) -> Ended:
    return run("cut", "--state", state, *arguments)


def times(state: Path) -> list[int]:
    return sorted(event.at for event in Machine.open(state).ledger().page(Query(until=1000, limit=1000)).events)


def test_what_was_exported_is_cut(state: Path) -> None:
    """What was exported can go, and only that; the audit says so, and what comes later has to be exported anew."""
    record(emptied(state), *range(100, 500))
    exported(state, "--until", 300)
    one = cut(state, "--before", 300)
    found = json.loads(one.stdout)
    assert (one.code, found) == (0, {"removed": 200, "before": 300, "bytes": found["bytes"]})
    assert times(state)[0] == 300
    assert exported(state, "--since", 300)[0]["detail"]["before"] == "300"
    assert cut(state, "--before", 400).code == 0
    assert times(state)[0] == 400
    assert cut(state, "--before", 450).code == 0


@pytest.mark.slow
def test_the_file_shrinks(state: Path) -> None:
    """What was cut goes back to the disk, all but 4 MiB; the file of an older Keybroker shrinks once it was compacted."""
    file = state / "state.db"
    for number in (1, 2):
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("DELETE FROM audit")  # which are younger than these
            connection.executemany(
                "INSERT INTO audit (at, kind, request_id, principal, grant_name, key, event)"
                " VALUES (100, 'keys.read', '', '', '', '', ?)",
                [("x" * 3000,)] * 3000,
            )
        full = file.stat().st_size
        one = cut(state, "--before", 200, "--not-exported")
        gc.collect()  # the command's connection would be another program's
        assert json.loads(one.stdout)["bytes"] == file.stat().st_size
        if number == 1:
            assert (one.stderr, file.stat().st_size < 5 * 2**20 < full) == ("", True)
            with closing(sqlite3.connect(file, isolation_level=None)) as connection:
                for statement in ("journal_mode = DELETE", "auto_vacuum = NONE"):
                    connection.execute(f"PRAGMA {statement}")
                connection.execute("VACUUM")
    assert one.stderr.startswith("warning: the file stays as large: an older Keybroker made it")
    assert file.stat().st_size == full
    assert main(["state", "compact", "--state", str(state)]) == 0
    assert file.stat().st_size < 2**20


@pytest.mark.parametrize("exports", [(), (("--since", 250),), (("--until", 200), ("--since", 250))])
def test_what_was_not_exported_stays(state: Path, exports: tuple[tuple[object, ...], ...]) -> None:
    """Events that no export had are not cut, unless the command says so; an export of a part is none of the rest."""
    record(emptied(state), 100, 200, 220, 300)
    for arguments in exports:
        exported(state, *arguments)
    one = cut(state, "--before", 400)
    assert (one.code, one.stdout, len(one.stderr.splitlines())) == (1, "", 1)
    assert "events were not exported" in one.stderr
    assert times(state) == [100, 200, 220, 300]
    assert cut(state, "--before", 400, "--not-exported").code == 0
    assert times(state) == []


def test_an_export_that_was_cut_off_is_none(state: Path) -> None:
    """An export whose reader stopped, or whose disk was full, does not count as one."""
    record(state, *range(1000, 1300))
    command = [sys.executable, "-m", "local", "audit", "export", "--state", str(state)]
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert "No space left" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert "were not exported yet" in cut(state, "--before", 1200).stderr


def test_recent_events_are_not_cut(state: Path) -> None:
    exported(state)
    one = cut(state, "--before", int(time.time()), "--not-exported")
    assert (one.code, one.stdout) == (1, "")
    assert "7 days ago" in one.stderr


# mistakes


@pytest.mark.parametrize("verb", ["export", "check"])
def test_a_state_directory_that_is_not_there_is_said(tmp_path: Path, verb: str) -> None:
    one = run(verb, "--state", tmp_path / "none")
    assert (one.code, one.stdout) == (1, "")
    assert one.stderr.startswith("error: cannot use the state directory: no_state_directory ([Errno 2] No such file")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("verb", ["export", "check"])
def test_missing_state_file_is_not_created(state: Path, verb: str) -> None:
    """A missing state file is an error, and is not created."""
    for file in state.glob("state.db*"):
        file.unlink()
    one = run(verb, "--state", state)
    assert (one.code, one.stdout) == (1, "")
    assert one.stderr.startswith("error: cannot use the state directory: state_unavailable (")
    assert not (state / "state.db").exists()


@pytest.mark.parametrize("verb", ["export", "check"])
def test_the_state_directory_has_to_be_named(verb: str) -> None:
    one = run(verb)
    assert (one.code, one.stdout) == (2, "")
    assert "--state" in one.stderr


@pytest.mark.parametrize(
    "arguments",
    [("export", "--since", "yesterday"), ("export", "--until", "-1"), ("check", "--start", "1" * 12), ("check", "--start", "٣")],
)  # fmt: skip
def test_invalid_time_is_a_usage_error(state: Path, arguments: tuple[str, ...]) -> None:
    """An invalid time is a usage error."""
    one = run(*arguments, "--state", state)
    assert (one.code, one.stdout) == (2, "")
    assert "a time in whole seconds since 1970" in one.stderr or "expected one argument" in one.stderr


def test_times_are_as_people_write_them(state: Path) -> None:
    """A time is epoch seconds, how long ago, or a date in UTC; the tokens of `keybroker audit` and these are the same."""
    now = int(time.time())
    ids = record(emptied(state), now - 9 * 86400, now - 7 * 86400 - 60, now - 7300)
    assert [one["id"] for one in exported(state, "--since", "8d", "--until", "2h")] == ids[:0:-1]
    day = time.strftime("%Y-%m-%d", time.gmtime(now - 8 * 86400))
    assert [one["id"] for one in exported(state, "--until", day)] == ids[:1]
    assert [one["id"] for one in exported(state, "--until", f"{day}T00:00:00+00:00")] == ids[:1]
    exported(state)
    assert json.loads(cut(state, "--before", "8d").stdout)["removed"] == 1


def test_both_verbs_say_what_they_do() -> None:
    one = run("--help")
    assert one.code == 0
    assert {"export", "check"} <= set(one.stdout.split())
    assert audit_command.__doc__ is not None
