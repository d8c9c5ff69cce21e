"""`keybroker exec`: what the transcripts cannot show of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keybroker.cli.identity_variables import PLATFORMS
from local.practice.completions import SENTENCE
from tests.keybroker.cli import terminal
from tests.keybroker.cli.keybroker_command import COMMAND, SECONDS, bare, job, run, without_waiting
from tests.keybroker.cli.test_identity_variables import jwt, values
from tests.running import POLICY, Running, start
from tests.scripted_broker import Handler, scripted

pytestmark = pytest.mark.slow  # programs of their own, below another

EXEC = ("exec", "--key", "openai", "--")
TAKEN_WITH_PROXY = "not passed on: ACTIONS_ID_TOKEN_REQUEST_TOKEN, ACTIONS_ID_TOKEN_REQUEST_URL\n"
TAKEN = f"{TAKEN_WITH_PROXY.rstrip()}; --keep-identity passes them on\n"
"""What is said of a GitHub job's identity."""


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
    assert (process.returncode, out, without_waiting(err)) == (9, f"got {name}\n", TAKEN)


def test_ctrl_c_reaches_the_program_once(running: Running) -> None:
    """Ctrl-C at a terminal reaches the program exactly once."""
    program = "trap 'echo got; exit 9' INT; echo ready; while :; do sleep 0.05; done"
    code, shown = terminal.run(*EXEC, "sh", "-c", program, environ=job(running), typed={"ready": terminal.CTRL_C})
    assert (code, shown.count("got")) == (9, 1)


def test_both_outputs_are_masked(running: Running) -> None:
    """Both output streams are masked, and stay separate."""
    done = run(*EXEC, "sh", "-c", 'echo "out $OPENAI_API_KEY"; echo "err $OPENAI_API_KEY" >&2', environ=job(running))
    assert (done.code, done.out, done.err) == (0, "out ***\n", f"{TAKEN}err ***\n")


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
    assert (done.code, done.err) == (0, TAKEN)
    through = run("exec", "--proxy", "--key", key, "--", *command, environ={**OTHERS, **job(running)})
    assert (through.code, through.out, through.err) == (0, done.out, TAKEN_WITH_PROXY)


AZURE = """
keys:
  azure-openai: {provider: azure-openai}
issuers:
  practice: {preset: practice, audience: keybroker}
grants:
  ci:
    key: azure-openai
    to: {issuer: practice, claims: {repository_id: "1234", repository_owner_id: "9919"}}
    scope: ["POST:/openai/deployments/gpt-5-mini/chat/completions"]
    quota: {tokens: 100/hour, calls: [100/minute]}
"""
CALL = """
from openai import AzureOpenAI
client = AzureOpenAI(api_version="2025-01-01-preview")
messages = [{"role": "user", "content": "hello"}]
print(client.chat.completions.create(model="gpt-5-mini", messages=messages).choices[0].message.content)
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", [(), ("--proxy",)])
def test_azures_sdk_is_told_by_variables_alone(way: tuple[str, ...]) -> None:
    """AzureOpenAI, unmodified, gets its answer by way of the edge, whatever else is set."""
    others = {"OPENAI_BASE_URL": "http://127.0.0.1:1", "AZURE_OPENAI_AD_TOKEN": "other"}
    with start(policy=AZURE) as azure:
        command = ("exec", *way, "--key", "azure-openai", "--", COMMAND[0], "-c", CALL)
        done = run(*command, environ={**others, **job(azure)})
    assert (done.code, done.out) == (0, f"{SENTENCE}\n"), done.err


def test_the_end_of_the_token_is_told(brief: Running) -> None:
    """A person is told at the start when the token ends; a log, of a program that ends before, is told nothing."""
    code, shown = terminal.run(*EXEC, "true", environ=job(brief), typed={})
    assert code == 0
    assert re.search(r"the token for openai ends at \d\d:\d\d \(in [34] s\); --proxy", shown)
    assert "ends at" not in run(*EXEC, "true", environ=job(brief)).err
    assert "ends at" not in terminal.run("exec", "--proxy", *EXEC[1:], "true", environ=job(brief), typed={})[1]


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
    said = TAKEN.replace("\n", "\r\n")
    for (code, shown), where in ((masked, "pipe"), (left, "terminal")):
        assert code == 0
        assert re.fullmatch(rf"{re.escape(said)}the token for openai ends [^\r]*\r\n{where}\r\n", shown)


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
        "import os, time, urllib.error, urllib.request\n"
        "ends, calls = time.monotonic() + 14, 0\n"
        "while time.monotonic() < ends:\n"
        "    request = urllib.request.Request(os.environ['OPENAI_BASE_URL'] + '/models')\n"
        "    request.add_header('authorization', 'Bearer ' + os.environ['OPENAI_API_KEY'])\n"
        "    try:\n"
        "        assert urllib.request.urlopen(request, timeout=30).status == 200\n"
        "        calls += 1\n"
        "    except urllib.error.HTTPError as refused:\n"  # this machine is busy: a second try, as by an SDK
        "        assert refused.code == 503, refused.code\n"
        "    time.sleep(0.2)\n"
        "print('calls', calls > 3)\n"
    )
    done = run("exec", "--proxy", "--key", "openai", "--", COMMAND[0], "-c", program, environ=job(brief))
    assert (done.code, done.out, done.err) == (0, "calls True\n", TAKEN_WITH_PROXY)
    issued = brief.administer("GET", "/admin/audit?kind=token.issued").json["items"]
    assert len(issued) > 3


# The identity, which the program does not get


OWN = {"KEYBROKER_ID_TOKEN", "KEYBROKER_ID_TOKEN_FILE", "KEYBROKER_AUDIENCE", "KUBERNETES_SERVICE_HOST"}
"""Would be used as the identity here, or change it."""
ENV = (COMMAND[0], "-c", "import json, os; print(json.dumps(dict(os.environ)))")
"""Prints its own environment."""


@pytest.mark.parametrize("platform", [name for name, one in PLATFORMS.items() if not one.stays])
def test_the_program_gets_no_identity(running: Running, platform: str) -> None:
    """Each platform's variables are missing in the program, and each one's name is said once, without its value."""
    doors = {name: value for name, value in values(platform).items() if name not in OWN}
    done = run(*EXEC, *ENV, environ={**doors, **job(running)})
    given = json.loads(done.out)
    assert not given.keys() & {*doors, "ACTIONS_ID_TOKEN_REQUEST_TOKEN"}
    assert given["KEYBROKER_URL"] == running.broker
    assert all(re.findall(rf"\b{name}\b", done.err) == [name] for name in doors)
    assert not [value for name, value in doors.items() if value in done.err and "TOKEN" in name]


def test_kept_identities_are_passed_on(running: Running) -> None:
    """--keep-identity passes all on, --keep one of them, and both are masked."""
    environ = {**job(running), "SUPABASE_KEY": jwt()}
    kept = run("exec", "--keep-identity", *EXEC[1:], *ENV, environ=environ)
    assert (kept.err, json.loads(kept.out)["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]) == ("", "***")
    one = run("exec", "--keep", "SUPABASE_KEY", *EXEC[1:], *ENV, environ=environ)
    assert (one.err, json.loads(one.out)["SUPABASE_KEY"]) == (TAKEN, "***")


@pytest.mark.parametrize(
    "kept",
    [["--keep-identity"], ["--keep", "ACTIONS_ID_TOKEN_REQUEST_URL"], ["--keep", "MYJWT"], ["--keep", "GH_TOKEN"]],
)
def test_behind_the_proxy_no_identity_is_passed_on(running: Running, kept: list[str]) -> None:
    """With --proxy an identity is never passed on, and asking for that is an error."""
    environ = {**job(running), "MYJWT": jwt(), "GH_TOKEN": jwt(), "OUTER": jwt("at+jwt"), "VAULT_TOKEN": "hvs.made-up"}
    done = run("exec", "--proxy", "--keep", "OUTER", "--keep", "VAULT_TOKEN", *EXEC[1:], *ENV, environ=environ)
    given = json.loads(done.out)
    assert not {"ACTIONS_ID_TOKEN_REQUEST_TOKEN", "MYJWT", "GH_TOKEN"} & given.keys()
    assert {"OUTER", "VAULT_TOKEN"} <= given.keys()
    refused = run("exec", "--proxy", *kept, *EXEC[1:], *ENV, environ=environ)
    assert (refused.code, refused.out) == (1, "")
    assert f"{kept[-1]}: with --proxy, --isolate or --user no identity is passed on" in refused.err


def test_a_nested_exec_keeps_the_outer_token(running: Running) -> None:
    """A nested `exec` takes the identity out, but not the token that an outer one set."""
    inner = (*COMMAND, "exec", "--key", "anthropic", "--", *ENV)
    done = run("exec", "--keep-identity", *EXEC[1:], *inner, environ=job(running))
    given = json.loads(done.out)
    assert {"OPENAI_API_KEY", "ANTHROPIC_API_KEY"} <= given.keys()
    assert "ACTIONS_ID_TOKEN_REQUEST_TOKEN" not in given


def test_the_subject_token_is_masked(running: Running) -> None:
    """The identity token that was exchanged is masked like the token that it was exchanged for."""
    subject = running.mint("62001")
    environ = {"KEYBROKER_URL": running.broker, "KEYBROKER_ID_TOKEN": subject}
    assert run(*EXEC, "echo", subject, environ=environ).out == "***\n"


def test_a_fetched_subject_token_is_masked(running: Running, tmp_path: Path) -> None:
    """An identity token that is in no variable, but is fetched for the exchange, is masked, too."""
    (tmp_path / "token").write_text(running.mint("62002"))
    environ = {"KEYBROKER_URL": running.broker, "KEYBROKER_ID_TOKEN_FILE": str(tmp_path / "token")}
    assert run(*EXEC, "cat", str(tmp_path / "token"), environ=environ).out == "***"


# The token, which ends with the program


def is_live(running: Running, token: str) -> bool:
    return running.complete(token).status == 200


@pytest.mark.parametrize("masking", [[], ["--no-masking"]])
def test_the_token_ends_with_the_program(running: Running, tmp_path: Path, masking: list[str]) -> None:
    """The token works while the program runs, and is revoked when it has ended, whatever its exit code."""
    program = 'printf %s "$OPENAI_API_KEY" >"$0"; exit 3'
    done = run("exec", *masking, *EXEC[1:], "sh", "-c", program, str(tmp_path / "token"), environ=job(running))
    assert (done.code, is_live(running, (tmp_path / "token").read_text())) == (3, False)


def test_the_token_ends_with_a_signal(running: Running, tmp_path: Path) -> None:
    """The token is revoked, too, when the program is ended by a signal."""
    program = 'printf %s "$OPENAI_API_KEY" >"$0"; echo ready; exec sleep 60'
    with started(running, "sh", "-c", program, str(tmp_path / "token")) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        token = (tmp_path / "token").read_text()
        assert is_live(running, token)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=SECONDS)
    assert (process.returncode, is_live(running, token)) == (128 + signal.SIGTERM, False)


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT"])
@pytest.mark.parametrize("behind", [[], ["--proxy"]])
def test_a_signal_before_the_program_leaves_no_token(name: str, behind: list[str]) -> None:
    """A signal that ends the command while it gets a second token has it revoke the first one."""
    good = {"access_token": "token.of.text", "token_type": "Bearer", "expires_in": 900, "scope": "GET:/x"}
    asked, answered = threading.Event(), threading.Event()

    def script(handler: Handler, number: int) -> None:
        if number == 2:
            asked.set()
            answered.wait(SECONDS)
        handler.answer(200, {**good, "base_url": "https://edge.example/openai"})

    with scripted(script) as broker:
        environ = {**bare(), "KEYBROKER_URL": broker.url, "KEYBROKER_ID_TOKEN": jwt()}
        command = [*COMMAND, "exec", *behind, "--key", "openai", "--key", "groq", "--", "true"]
        with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as process:
            assert asked.wait(SECONDS)
            process.send_signal(getattr(signal, f"SIG{name}"))
            code = process.wait(SECONDS)
        answered.set()
    assert code == 128 + getattr(signal, f"SIG{name}")
    revoked = [one.form["token"] for one in broker.asked if one.path == "/revoke"]
    assert revoked == ["token.of.text"]


@pytest.mark.parametrize("behind", [[], ["--proxy"]])
def test_no_token_is_left_without_a_program(running: Running, behind: list[str]) -> None:
    """A program that cannot be started leaves no token, whichever way it would have been used."""
    before = len(running.administer("GET", "/admin/revocations?scope=token&limit=200").json["items"])
    assert run("exec", *behind, *EXEC[1:], "no-such-program", environ=job(running)).code == 127
    assert len(running.administer("GET", "/admin/revocations?scope=token&limit=200").json["items"]) == before + 1


def test_a_revocation_that_fails_is_a_warning() -> None:
    """A token that cannot be revoked is a warning, and the exit code stays the program's."""
    good = {"access_token": "token.of.text", "token_type": "Bearer", "expires_in": 900, "scope": "GET:/x"}

    def script(handler: Handler, number: int) -> None:
        handler.answer(200, {**good, "base_url": "https://edge.example"}) if number == 1 else handler.drop()

    with scripted(script) as broker:
        environ = {"KEYBROKER_URL": broker.url, "KEYBROKER_ID_TOKEN": jwt()}
        done = run(*EXEC, "sh", "-c", "exit 6", environ=environ)
    assert done.code == 6
    assert "warning: the token for openai was not revoked and expires by itself: cannot reach" in done.err
    assert [one.path for one in broker.asked] == ["/token", "/revoke"]


def test_a_key_helper_is_not_asked_beside(tmp_path: Path) -> None:
    """With an apiKeyHelper, Claude Code gets the token under the name beside which it sends no other; without, as before."""
    program = (
        "sh",
        "-c",
        'test "$ANTHROPIC_API_KEY" = "$ANTHROPIC_AUTH_TOKEN" && echo both || echo "[$ANTHROPIC_AUTH_TOKEN]"',
    )
    environ = {"HOME": str(tmp_path), "KEYBROKER_ID_TOKEN": jwt()}
    settings = tmp_path / ".claude" / "settings.json"
    settings.parent.mkdir()
    with scripted() as broker:
        command = ("exec", "--key", "anthropic", "--url", broker.url, "--", *program)
        assert run(*command, environ=environ, cwd=tmp_path).out == "[]\n"
        settings.write_text(json.dumps({"apiKeyHelper": "x", "env": {"ANTHROPIC_BASE_URL": "https://other.example"}}))
        done = run(*command, environ=environ, cwd=tmp_path)
    assert done.out == "both\n"
    assert f"warning: {settings} sets ANTHROPIC_BASE_URL, which Claude Code prefers to exec's" in done.err
