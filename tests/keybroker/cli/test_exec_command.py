"""`keybroker exec`: what the transcripts cannot show of it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keybroker.cli import terminal
from tests.keybroker.cli.keybroker_command import COMMAND, SECONDS, bare, job, run, without_waiting
from tests.running import POLICY, Running, start

EXEC = ("exec", "--key", "openai", "--")


@pytest.fixture(scope="module")
def brief() -> Iterator[Running]:
    """A broker whose tokens live for four seconds."""
    with start("--practice-ttl", "4", policy=POLICY) as one:
        yield one


def started(running: Running, *command: str) -> subprocess.Popen[str]:
    environ = {**bare(), **job(running)}
    arguments = [*COMMAND, *EXEC, *command]
    return subprocess.Popen(arguments, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1", "QUIT"])
def test_signals_are_passed_on(running: Running, name: str) -> None:
    """A signal reaches the program, and its exit code after it is passed on."""
    program = f"trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done"
    with started(running, "sh", "-c", program) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(getattr(signal, f"SIG{name}"))
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out, without_waiting(err)) == (9, f"got {name}\n", "")


def test_ctrl_c_reaches_the_program_once(running: Running) -> None:
    """Ctrl-C at a terminal reaches the program exactly once."""
    program = "trap 'echo got; exit 9' INT; echo ready; while :; do sleep 0.05; done"
    code, shown = terminal.run(*EXEC, "sh", "-c", program, environ=job(running), typed={"ready": terminal.CTRL_C})
    assert (code, shown.count("got")) == (9, 1)


def test_both_outputs_are_masked(running: Running) -> None:
    """Both output streams are masked, and stay separate."""
    done = run(*EXEC, "sh", "-c", 'echo "out $OPENAI_API_KEY"; echo "err $OPENAI_API_KEY" >&2', environ=job(running))
    assert (done.code, done.out, done.err) == (0, "out ***\n", "err ***\n")


def test_a_token_in_pieces_is_masked(running: Running) -> None:
    """A token that is written in pieces is masked, too."""
    pieces = 'for part in $(echo "$OPENAI_API_KEY" | fold -w 40); do printf %s "$part"; sleep 0.01; done; echo .'
    assert run(*EXEC, "sh", "-c", pieces, environ=job(running)).out == "***.\n"


SDKS = {
    "openai": "import openai; print(openai.OpenAI().chat.completions.create(model='gpt-5-mini', messages=M).model)",
    "anthropic": "import anthropic; "
    "print(anthropic.Anthropic().messages.create(model='claude-practice', max_tokens=9, messages=M).model)",
}
OTHERS = {
    "OPENAI_CUSTOM_HEADERS": "authorization: Bearer other",
    "OPENAI_ORG_ID": "org-other",
    "ANTHROPIC_AUTH_TOKEN": "other",
    "ANTHROPIC_CUSTOM_HEADERS": "authorization: Bearer other",
    "HTTP_PROXY": "http://127.0.0.1:1",
    "HTTPS_PROXY": "http://127.0.0.1:1",
}
"""What a user's environment may hold, and what would win over the token."""


@pytest.mark.slow
@pytest.mark.parametrize("key", SDKS)
def test_sdks_use_the_token_only(running: Running, key: str) -> None:
    """An SDK uses the token whatever else is set, and warns of nothing."""
    program = f"M = [{{'role': 'user', 'content': 'hello'}}]; {SDKS[key]}"
    others = {name: value for name, value in OTHERS.items() if not name.endswith("_PROXY")}
    command = (COMMAND[0], "-W", "error::UserWarning", "-c", program)
    done = run("exec", "--key", key, "--", *command, environ={**others, **job(running)})
    assert (done.code, done.err) == (0, "")
    through = run("exec", "--proxy", "--key", key, "--", *command, environ={**OTHERS, **job(running)})
    assert (through.code, through.out, through.err) == (0, done.out, "")


def test_stdin_reaches_the_program(running: Running) -> None:
    """Standard input is passed to the program."""
    assert run(*EXEC, "cat", environ=job(running), stdin="typed\n").out == "typed\n"


def test_output_is_not_buffered(running: Running) -> None:
    """Output is passed on as it is written."""
    with started(running, "sh", "-c", "printf Password:; read answer; echo $answer") as process:
        assert process.stdout is not None
        assert process.stdout.read(9) == "Password:"  # without a line's end, and before the program ends
        process.kill()


def test_the_token_is_in_no_process_list(running: Running, tmp_path: Path) -> None:
    """The token is in no process's arguments."""
    look = f'ps -eo args >"{tmp_path}/list"; printf %s "$OPENAI_API_KEY" >"{tmp_path}/token"'
    assert run(*EXEC, "sh", "-c", look, environ=job(running)).code == 0
    token, listed = (tmp_path / "token").read_text(), (tmp_path / "list").read_text()
    assert token.startswith("eyJ")
    assert "exec --key openai" in listed
    assert token not in listed


def test_an_open_output_does_not_block(running: Running) -> None:
    """A background process that keeps the output open does not keep the command from ending."""
    before = time.monotonic()
    done = run(*EXEC, "sh", "-c", "sleep 300 & echo $!; exit 4", environ=job(running))
    os.kill(int(done.out), signal.SIGKILL)
    assert (done.code, time.monotonic() - before < SECONDS) == (4, True)


def test_a_closed_reader_ends_the_program(running: Running) -> None:
    """A reader that leaves ends the program, as it would without the command."""
    with started(running, "yes") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "y\n"
        process.stdout.close()
        assert process.wait(timeout=SECONDS) in (1, 128 + signal.SIGPIPE)


def test_no_masking_leaves_the_terminal(running: Running) -> None:
    """With --no-masking the program has the terminal."""
    asks = ("sh", "-c", "test -t 1 && echo terminal || echo pipe")
    masked = terminal.run("exec", "--key", "openai", "--", *asks, environ=job(running))
    left = terminal.run("exec", "--key", "openai", "--no-masking", "--", *asks, environ=job(running))
    assert (masked, left) == ((0, "pipe\r\n"), (0, "terminal\r\n"))


def test_options_of_the_program_stay_its_own(running: Running) -> None:
    """Options after the program's name are the program's."""
    done = run("exec", "--key", "openai", "echo", "--key", "x", "-h", environ=job(running))
    assert (done.code, done.out) == (0, "--key x -h\n")


def test_grant_applies_to_a_single_key(running: Running) -> None:
    """Several keys set several variables; --grant applies to a single key."""
    keys = ("exec", "--key", "openai", "--key", "anthropic")
    done = run(*keys, "--", "sh", "-c", 'echo "$OPENAI_BASE_URL $ANTHROPIC_BASE_URL"', environ=job(running))
    assert done.out == f"{running.edge}/openai/v1 {running.edge}/anthropic\n"
    refused = run(*keys, "--grant", "ci", "--", "true", environ=job(running))
    assert (refused.code, "apply to a single key" in refused.err) == (1, True)


def test_no_program_without_a_token(running: Running, tmp_path: Path) -> None:
    """Without a token the program is not started."""
    done = run("exec", "--key", "nope", "--", "touch", str(tmp_path / "ran"), environ=job(running))
    assert (done.code, "invalid_target" in done.err) == (3, True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_the_proxy_outlives_tokens(brief: Running) -> None:
    """With --proxy a program outlives three tokens."""
    program = (
        "import os, time, urllib.request\n"
        "ends, calls = time.monotonic() + 14, 0\n"
        "while time.monotonic() < ends:\n"
        "    request = urllib.request.Request(os.environ['OPENAI_BASE_URL'] + '/models')\n"
        "    request.add_header('authorization', 'Bearer ' + os.environ['OPENAI_API_KEY'])\n"
        "    assert urllib.request.urlopen(request, timeout=30).status == 200\n"
        "    calls += 1\n"
        "    time.sleep(0.2)\n"
        "print('calls', calls > 3)\n"
    )
    done = run("exec", "--proxy", "--key", "openai", "--", COMMAND[0], "-c", program, environ=job(brief))
    assert (done.code, done.out, done.err) == (0, "calls True\n", "")
    issued = brief.administer("GET", "/admin/audit?kind=token.issued").json["items"]
    assert len(issued) > 3
