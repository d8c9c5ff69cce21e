"""The demo, run as its reader runs it: as a command, to its end and to several bad ones."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from local.demo import play as demo
from local.demo import server as demo_stage
from local.demo.administrator import Administrator
from local.demo.check import StepFailed, expect
from local.demo.console import WIDTH, Narrator, mask
from tests.running import ROOT, Running, wait_until

TITLES = [
    "1  A CI job gets its identity token",
    "2  It exchanges it for a token of the broker",
    "3  It streams a completion through the edge",
    "4  The provider saw the real key; the job never did",
    "5  The same identity token again",
    "6  The quota",
    "7  Revocation: the very next call is refused",
    "8  Restoring: old tokens stay dead",
    "9  The audit trail",
]
# A JWT's header alone is no secret, but nothing of a payload, a key or an administrator's secret may follow.
SECRETS = re.compile(r"eyJ[\w-]{10,}|sk-practice-\w+-[0-9a-f]{6,}|AKIA\w{4,}")


def start(directory: Path, serve: Sequence[str] | None = None, **environment: str) -> subprocess.Popen[str]:
    """Start the demo. serve: what it starts instead of the real servers. directory: where it keeps its state."""
    program = f"import sys; from local.demo import play; sys.exit(play.main({serve!r}))"
    command = [sys.executable, "-c", program] if serve else [sys.executable, "-m", "local", "demo"]
    return launch(directory, command, **environment)


def launch(directory: Path, command: Sequence[str], **environment: str) -> subprocess.Popen[str]:
    """Start a command that plays the demo, and keeps its state in the directory."""
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**plain, "TMPDIR": str(directory), "PYTHONUNBUFFERED": "", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return the exit code, stdout and stderr."""
    with process:
        try:
            told, complained = process.communicate(timeout=60)
        except BaseException:
            process.terminate()
            raise
    return process.returncode, told, complained


def left_behind(directory: Path) -> list[str]:
    """Return the state that was not thrown away, and the commands that still run with it."""
    needle = str(directory).encode()
    files = [path.name for path in directory.iterdir() if path.name.startswith("keybroker-")]
    running = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            running += [process.read_text()] if needle in process.read_bytes() else []
        except OSError:  # it ended meanwhile
            continue
    return files + running


def test_the_demo_plays_the_whole_story_and_shows_no_secret(tmp_path: Path) -> None:
    # Settings of the machine's owner that would lead the SDK elsewhere change nothing.
    elsewhere = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "http_proxy": "http://127.0.0.1:1"}
    code, told, complained = finish(start(tmp_path, **elsewhere))
    assert (code, complained) == (0, "")
    assert [line for line in told.splitlines() if re.match(r"\d  ", line)] == TITLES
    for line in (
        "   <- call 5: 200",
        "   <- call 6: 429 (retry-after: ",
        "   today and nothing at all tomorrow.",
        "      the provider saw  sk-practice-openai-…",
        "   <- 400 invalid_grant: this identity token was used before",
        "   <- 403 revoked: access is revoked (principal)",
        "   <- 401 invalid_token: the token was issued before a revocation",
        " revocation.lifted  practice-admin",
        "\nAll 9 steps hold (",
    ):
        assert line in told, line
    assert SECRETS.findall(told) == []
    assert "\x1b" not in told
    assert max(map(len, told.splitlines())) <= WIDTH
    assert left_behind(tmp_path) == []


def test_a_step_that_does_not_hold_ends_the_demo_and_is_named(tmp_path: Path) -> None:
    policy = tmp_path / "loose.yaml"
    policy.write_text(demo_stage.POLICY.replace("audience: keybroker}", "audience: keybroker, single_use: false}"))
    serve = [sys.executable, "-m", "local", "serve", "--port", "0", "--json", "--policy", str(policy)]
    code, told, complained = finish(start(tmp_path, serve))
    assert code == 1
    assert complained == (
        "error: step 5 (The same identity token again) failed: the second use of an identity token was not refused\n"
    )
    assert "6  The quota" not in told
    assert SECRETS.findall(told) == []
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("import sys; sys.exit('the port is taken')", "the servers ended while they started: the port is taken"),
        ("print('hello')", "what `serve --json` said is not the one line it promises"),
    ],
)
def test_servers_that_do_not_start_are_a_failed_start(tmp_path: Path, program: str, why: str) -> None:
    code, _, complained = finish(start(tmp_path, [sys.executable, "-c", program]))
    assert (code, complained) == (1, f"error: the start failed: {why}\n")
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demo_stops_its_servers_and_shows_no_stack(tmp_path: Path, number: int, code: int) -> None:
    started = tmp_path / "started"
    program = f"import pathlib, time; pathlib.Path({str(started)!r}).touch(); time.sleep(60)"
    process = start(tmp_path, [sys.executable, "-c", program])
    wait_until(started.exists)
    process.send_signal(number)
    ended, _, complained = finish(process)
    assert (ended, complained.strip()) == (code, "interrupted" if code == 130 else "")
    assert left_behind(tmp_path) == []


LOSES_ITS_EXCEPTION = """
import os, signal, sys
from local.demo import play

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), {number})
        while True:  # until the exception comes, which Python drops here
            pass

class Arguments(list):
    def __iter__(self):
        Finalized()
        return super().__iter__()

sys.exit(play.main(Arguments([sys.executable, "-c", "import time; time.sleep(60)"])))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_that_python_drops_in_a_finalizer_comes_again(tmp_path: Path, number: int, code: int) -> None:
    process = launch(tmp_path, [sys.executable, "-c", LOSES_ITS_EXCEPTION.format(number=int(number))])
    ended, _, complained = finish(process)
    assert ended == code
    assert complained.startswith("Exception ignored in: <function Finalized.__del__")
    assert left_behind(tmp_path) == []


def test_a_reader_who_goes_away_ends_the_demo_without_a_stack(tmp_path: Path) -> None:
    process = start(tmp_path, [sys.executable, "-c", "print('{}')"])
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process:
        complained = process.stderr.read()
        process.wait(timeout=30)
    assert (process.returncode, complained) == (1, "")
    assert left_behind(tmp_path) == []


def test_an_administrators_call_is_signed_with_its_query_whatever_is_in_it(running: Running) -> None:
    administrator = Administrator(url=running.broker, **running.admin)
    running.token("74011")
    found = administrator.call("GET", "/admin/audit", {"principal": running.sub("74011"), "kind": "token.issued"})
    assert (found.status, len(found.json["items"])) == (200, 1)
    asked = administrator.call("GET", "/admin/audit", {"principal": "a b&c=d/~é+%", "grant": "x"})
    assert (asked.status, asked.json["items"]) == (200, [])


def test_a_call_signed_with_another_secret_is_refused(running: Running) -> None:
    administrator = Administrator(url=running.broker, **{**running.admin, "secret_access_key": "another"})
    assert administrator.call("GET", "/admin/audit").status == 403


def test_an_expectation_names_what_was_found_instead() -> None:
    expect("calls", 5, 5)
    with pytest.raises(StepFailed, match=r"^calls: expected 5, found 6$"):
        expect("calls", 6, 5)


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        (f"eyJhbGciOiJ{'x' * 600}k3Zw", "eyJhbGciO…k3Zw"),
        ("sk-practice-openai-00112233445566778899aabb", "sk-practice-openai-…aabb"),
        ("abcdefghijklmnopqrstuv", "abcd…"),
    ],
)
def test_no_secret_is_shown_whole(secret: str, shown: str) -> None:
    assert mask(secret) == shown


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [
        (_Terminal(), {}, True),
        (_Terminal(), {"NO_COLOR": "1"}, False),
        (_Terminal(), {"NO_COLOR": ""}, True),
        (_Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    stream: io.StringIO, environment: dict[str, str], *, coloured: bool
) -> None:
    Narrator(stream, environment).title("A title")
    assert ("\x1b[1mA title\x1b[0m" in stream.getvalue()) is coloured
    assert "A title" in stream.getvalue()


def test_words_are_wrapped_as_they_arrive() -> None:
    stream = io.StringIO()
    Narrator(stream, {}).words(f" word{number:02}" for number in range(30))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert " ".join(stream.getvalue().split()) == " ".join(f"word{number:02}" for number in range(30))


def test_a_line_that_breaks_off_is_ended() -> None:
    def broken() -> Iterator[str]:
        yield "half a"
        raise StepFailed("gone")

    stream = io.StringIO()
    with pytest.raises(StepFailed, match="gone"):
        Narrator(stream, {}).words(broken())
    assert stream.getvalue() == "   half a\n"


@pytest.mark.parametrize(
    ("now", "wait"), [(0.0, 0.0), (86400 - 21.0, 0.0), (86400 - 19.0, 19.0), (3 * 86400 - 0.5, 0.5)]
)
def test_the_story_does_not_run_into_the_next_day(now: float, wait: float) -> None:
    assert demo._until_the_story_fits(now) == wait
