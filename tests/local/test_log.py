"""The log of one machine."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import subprocess
import sys
import time

import pytest

from local.log import LINE_BYTES, REPEATS, JsonFormatter, LineHandler, Repeats, TimedFormatter
from tests.running import ROOT


def _line(text: str, error: BaseException | None = None) -> str:
    record = logging.LogRecord(
        "keybroker", logging.INFO, "", 0, text, None, (type(error), error, None) if error else None
    )
    record.created = 1_800_000_000.25
    return TimedFormatter("%(message)s").format(record)


def test_an_object_gets_its_time_first() -> None:
    """A line of JSON stays JSON, and begins with its time."""
    about = {"door": "edge", "status": 401}
    line = _line(json.dumps(about))
    assert line.startswith('{"time": "2027-01-15T08:00:00.250Z", ')
    assert json.loads(line) == {"time": "2027-01-15T08:00:00.250Z", **about}


@pytest.mark.parametrize("text", ["the gateway failed", "{", "{}", "[1]", ""])
def test_other_lines_begin_with_their_time(text: str) -> None:
    assert _line(text) == f"2027-01-15T08:00:00.250Z {text}"


def test_a_traceback_follows_its_line() -> None:
    assert _line("it failed", KeyError("x")).splitlines()[0] == "2027-01-15T08:00:00.250Z it failed"


class _Full(io.StringIO):
    """Where no line has room."""

    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_log_that_cannot_be_written_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines for which there is no room are said on stderr in one line, without what was in them, and raise nothing."""
    handler = LineHandler(_Full())
    for _ in range(3):
        handler.handle(_record("a refusal"))
    said = capsys.readouterr().err
    assert (
        said == "2027-01-15T08:00:00.250Z the log cannot be written (No space left on device); lines lost so far: 1\n"
    )


def _record(text: str, level: int = logging.WARNING) -> logging.LogRecord:
    made = logging.LogRecord("keybroker", level, "", 0, text, None, None)
    made.created = 1_800_000_000.25
    return made


@pytest.mark.parametrize("formatter", [TimedFormatter("%(message)s"), JsonFormatter("%(message)s")])
@pytest.mark.parametrize(
    "text", [json.dumps({"door": "edge", "x": "é" * 20_000}), "\x01" * 20_000, '"' * 9_000, "€" * 9_000]
)
def test_a_line_is_bounded(formatter: logging.Formatter, text: str) -> None:
    """No line is longer than the bound, and one of JSON stays JSON that says how long it was."""
    line = formatter.format(_record(text))
    assert len(line.encode()) <= LINE_BYTES
    if isinstance(formatter, JsonFormatter) or text.startswith("{"):
        assert json.loads(line)["cut"] == len(text.encode())
    else:
        assert line.endswith(" (cut)")


@pytest.mark.parametrize("formatter", [TimedFormatter("%(message)s"), JsonFormatter("%(message)s")])
@pytest.mark.parametrize("long", ["n" * 2**20, "\x01" * 2**20, ["é" * 1000] * 1000, {"a": {"b": "c" * 2**20}}])
def test_a_long_value_hides_nothing(formatter: logging.Formatter, long: object) -> None:
    """However long a name is, the line is bounded, and says what was refused, and of which request, as it would have."""
    about = {"door": "edge", "name": long, "status": 401, "reason": "revoked_principal", "request_id": "r" * 36}
    line = formatter.format(_record(json.dumps(about)))
    assert len(line.encode()) <= LINE_BYTES
    read = json.loads(line)
    assert read["cut"] > 2**20 - 30
    assert {**about, "name": ""} == {name: "" if name == "name" else read[name] for name in about}
    assert len(read["name"]) <= 501


def test_many_members_are_bounded() -> None:
    """A line of so many members that their beginnings do not fit is cut as any other text."""
    text = json.dumps({f"member-{number}": "x" * 30 for number in range(1000)})
    line = JsonFormatter("%(message)s").format(_record(text))
    assert len(line.encode()) <= LINE_BYTES
    assert json.loads(line)["message"] == text[:1332]


def test_what_is_remembered_is_short() -> None:
    """Warnings with long texts that differ take no memory: each is remembered by its hash."""
    repeats = Repeats()
    for number in range(3):
        assert repeats.filter(_record(f"{number}" + "x" * 2**20))
    assert sum(len(one) for one in repeats._seen) == 3 * 32


@pytest.mark.parametrize("text", ["worker 1 ended", '{"a": 1}', "{", '{"a": 1}\nTraceback', "[1]", "", '{"a'])
def test_every_line_is_json(text: str) -> None:
    """With KEYBROKER_LOG=json each line is one object with its time, whatever is logged."""
    line = JsonFormatter("%(message)s").format(_record(text))
    read = json.loads(line)
    assert "\n" not in line
    assert read.pop("time") == "2027-01-15T08:00:00.250Z"
    assert read == ({"a": 1} if text == '{"a": 1}' else {"level": "warning", "message": text})


def test_the_same_warning_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning that repeats is logged a few times a minute, and then says how many were left out; refusals all stay."""
    now, one, repeats = [0.0], '{"door": "upkeep", "reason": "state_unavailable"}', Repeats()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    assert [repeats.filter(_record(one)) for _ in range(100)].count(True) == REPEATS
    assert repeats.filter(_record("another"))
    now[0] = 61.0
    after = _record(one)
    assert repeats.filter(after)
    assert json.loads(after.getMessage())["missed"] == 100 - REPEATS
    assert all(repeats.filter(_record("a refusal", logging.INFO)) for _ in range(100))
    for number in range(1000):
        repeats.filter(_record(str(number)))
    assert len(repeats._seen) <= 256


def test_json_goes_to_stdout() -> None:
    """With KEYBROKER_LOG=json the log is on stdout; without it, on stderr as it was."""
    code = "import logging; from local import log; log.to_stderr(); logging.getLogger('keybroker').warning('it ended')"
    for form, on_stdout in (("json", True), ("", False)):
        environment = {**os.environ, "KEYBROKER_LOG": form}
        ended = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        said, nothing = (ended.stdout, ended.stderr) if on_stdout else (ended.stderr, ended.stdout)
        assert ("it ended" in said, nothing) == (True, "")
        assert said.startswith("{") == on_stdout
