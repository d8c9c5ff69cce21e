"""The demo, run as a command: a complete run, failures and interruptions."""

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

from local.demo import run as demo
from local.demo import server
from local.demo.check import CheckFailedError, check
from local.demo.console import WIDTH, Console, mask
from tests.running import ROOT, wait_until

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
    """Start the demo. serve: the command it starts in place of the real servers. directory: for its temporary files."""
    program = f"import sys; from local.demo import run; sys.exit(run.main({serve!r}))"
    command = [sys.executable, "-c", program] if serve else [sys.executable, "-m", "local", "demo"]
    return launch(directory, command, **environment)


def launch(directory: Path, command: Sequence[str], **environment: str) -> subprocess.Popen[str]:
    """Start a command that runs the demo. directory: for its temporary files."""
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
            out, err = process.communicate(timeout=60)
        except BaseException:
            process.terminate()
            raise
    return process.returncode, out, err


def left_behind(directory: Path) -> list[str]:
    """Return the temporary files that were not deleted, and the commands that still run with them."""
    needle = str(directory).encode()
    files = [path.name for path in directory.iterdir() if path.name.startswith("keybroker-")]
    running = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            running += [process.read_text()] if needle in process.read_bytes() else []
        except OSError:  # it ended meanwhile
            continue
    return files + running


@pytest.mark.slow
def test_demo_passes_and_shows_no_secret(tmp_path: Path) -> None:
    """All steps pass, no matter what is set for the SDK and the signer on this machine; no secret is printed whole."""
    elsewhere = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "http_proxy": "http://127.0.0.1:1"}
    elsewhere |= {"AWS_PROFILE": "none", "AWS_SESSION_TOKEN": "another"}
    code, out, err = finish(start(tmp_path, **elsewhere))
    assert (code, err) == (0, "")
    assert [line for line in out.splitlines() if re.match(r"\d  ", line)] == TITLES
    for line in (
        "   <- call 5: 200",
        "   <- call 6: 429 (retry-after: ",
        "   today and nothing at all tomorrow.",
        "      the provider saw  sk-practice-openai-…",
        "   <- 400 invalid_grant: this identity token was used before",
        "   <- 403 revoked: access is revoked (principal)",
        "   <- 401 invalid_token: the token was issued before a revocation",
        " revocation.lifted  practice-admin",
        "\nAll 10 steps passed (",
    ):
        assert line in out, line
    assert SECRETS.findall(out) == []
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= WIDTH
    assert left_behind(tmp_path) == []


@pytest.mark.slow
def test_failed_step_ends_the_demo(tmp_path: Path) -> None:
    """A failed check ends the demo with code 1 and an error that names the step."""
    policy = tmp_path / "loose.yaml"
    policy.write_text(server.POLICY.replace("audience: keybroker}", "audience: keybroker, single_use: false}"))
    serve = [sys.executable, "-m", "local", "serve", "--port", "0", "--json", "--policy", str(policy)]
    code, out, err = finish(start(tmp_path, serve))
    assert code == 1
    assert err == (
        "error: step 5 (The same identity token again) failed: the second use of an identity token was not refused\n"
    )
    assert "6  The quota" not in out
    assert SECRETS.findall(out) == []
    assert left_behind(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("import sys; sys.exit('the port is taken')", "the servers exited during start-up: the port is taken"),
        ("print('hello')", "`serve --json` did not print the expected line of JSON"),
    ],
)
def test_failed_start_is_reported(tmp_path: Path, program: str, why: str) -> None:
    """Servers that do not start end the demo with code 1 and the reason."""
    code, _, err = finish(start(tmp_path, [sys.executable, "-c", program]))
    assert (code, err) == (1, f"error: start-up failed: {why}\n")
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_demo_stops_its_servers(tmp_path: Path, number: int, code: int) -> None:
    """A signal stops the servers, deletes their state and shows no traceback."""
    started = tmp_path / "started"
    program = f"import pathlib, time; pathlib.Path({str(started)!r}).touch(); time.sleep(60)"
    process = start(tmp_path, [sys.executable, "-c", program])
    wait_until(started.exists)
    process.send_signal(number)
    ended, _, err = finish(process)
    assert (ended, err.strip()) == (code, "interrupted" if code == 130 else "")
    assert left_behind(tmp_path) == []


LOSES_ITS_EXCEPTION = """
import os, signal, sys
from local.demo import run

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), {number})
        while True:  # until the exception comes, which Python drops here
            pass

class Arguments(list):
    def __iter__(self):
        Finalized()
        return super().__iter__()

sys.exit(run.main(Arguments([sys.executable, "-c", "import time; time.sleep(60)"])))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_exception_dropped_in_a_finalizer_is_repeated(tmp_path: Path, number: int, code: int) -> None:
    """Python drops what a finalizer raises; the demo still ends, and shows no traceback."""
    process = launch(tmp_path, [sys.executable, "-c", LOSES_ITS_EXCEPTION.format(number=int(number))])
    ended, _, err = finish(process)
    assert (ended, err.strip()) == (code, "interrupted" if code == 130 else "")
    assert left_behind(tmp_path) == []


WRAPS_ITS_EXCEPTION = """
import os, signal, sys
from local.demo import run

class Named:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), {number})

def arguments():
    class Owner:
        named = Named()

class Arguments(list):
    def __iter__(self):
        arguments()

sys.exit(run.main(Arguments(["unused"])))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_wrapped_exception_still_interrupts(tmp_path: Path, number: int, code: int) -> None:
    """Python before 3.12 makes a RuntimeError of what is raised while a class is made, as in any import; it is no failed step."""
    ended, _, err = finish(launch(tmp_path, [sys.executable, "-c", WRAPS_ITS_EXCEPTION.format(number=int(number))]))
    assert (ended, err.strip()) == (code, "interrupted" if code == 130 else "")
    assert left_behind(tmp_path) == []


def test_closed_stdout_ends_the_demo(tmp_path: Path) -> None:
    """A reader that closes the pipe ends the demo with code 1 and no traceback."""
    process = start(tmp_path, [sys.executable, "-c", "print('{}')"])
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process:
        err = process.stderr.read()
        process.wait(timeout=30)
    assert (process.returncode, err) == (1, "")
    assert left_behind(tmp_path) == []


def test_failed_check_says_what_was_found() -> None:
    """The error has the expected and the found value."""
    check("calls", 5, 5)
    with pytest.raises(CheckFailedError, match=r"^calls: expected 5, found 6$"):
        check("calls", 6, 5)


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        (f"eyJhbGciOiJ{'x' * 600}k3Zw", "eyJhbGciO…k3Zw"),
        ("sk-practice-openai-00112233445566778899aabb", "sk-practice-openai-…aabb"),
        ("abcdefghijklmnopqrstuv", "abcd…"),
    ],
)
def test_secrets_are_masked(secret: str, shown: str) -> None:
    """Only an excerpt of a secret is printed, and less of a short one."""
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
def test_colours_on_terminals_only(stream: io.StringIO, environment: dict[str, str], *, coloured: bool) -> None:
    """Colours are printed on terminals only, and not with NO_COLOR or TERM=dumb."""
    Console(stream, environment).title("A title")
    assert ("\x1b[1mA title\x1b[0m" in stream.getvalue()) is coloured
    assert "A title" in stream.getvalue()


def test_streamed_text_is_wrapped() -> None:
    """A text that arrives in chunks is wrapped at the width."""
    stream = io.StringIO()
    Console(stream, {}).stream(f" word{number:02}" for number in range(30))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert " ".join(stream.getvalue().split()) == " ".join(f"word{number:02}" for number in range(30))


def test_broken_stream_ends_its_line() -> None:
    """The line is ended even if the chunks end with an exception."""

    def broken() -> Iterator[str]:
        yield "half a"
        raise CheckFailedError("gone")

    stream = io.StringIO()
    with pytest.raises(CheckFailedError, match="gone"):
        Console(stream, {}).stream(broken())
    assert stream.getvalue() == "   half a\n"


@pytest.mark.parametrize(
    ("now", "wait"), [(0.0, 0.0), (86400 - 21.0, 0.0), (86400 - 19.0, 19.0), (3 * 86400 - 0.5, 0.5)]
)
def test_demo_waits_for_midnight(now: float, wait: float) -> None:
    """The demo does not start shortly before midnight UTC, when quotas reset."""
    assert demo._wait_for_midnight(now) == wait
