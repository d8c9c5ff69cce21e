"""`keybroker login` and `logout`, and what uses the login."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keybroker.cli import program
from keybroker.login import session, store
from keybroker.login.id_token import Login
from tests.keybroker.cli.keybroker_command import Done, run
from tests.login_issuer import CLIENT, PENDING, LoginIssuer, login_issuer
from tests.running import Running

CODE = "WDJB-MJHT"


@pytest.fixture
def issuer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoginIssuer]:
    """Run an issuer, at which this process logs in without waiting."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(session, "log_in", functools.partial(session.log_in, sleep=lambda _: None))
    with login_issuer() as one:
        yield one


@pytest.fixture
def where(tmp_path: Path) -> Path:
    """Return the folder of the login."""
    return tmp_path / "keybroker"


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> Done:
    """Run a command in this process."""
    capsys.readouterr()
    code = program.run(arguments)
    said = capsys.readouterr()
    return Done(code, said.out, said.err)


def log_in(capsys: pytest.CaptureFixture[str], issuer: LoginIssuer, *more: str) -> Done:
    return command(capsys, "login", "--issuer", issuer.url, "--client-id", CLIENT, *more)


def test_what_is_confirmed_is_said(issuer: LoginIssuer, capsys: pytest.CaptureFixture[str]) -> None:
    """The page, the code and what a confirmation means are shown; then who logged in. stdout stays empty."""
    issuer.claims["email"] = "alice@example.com"
    issuer.answers.append(PENDING)
    done = log_in(capsys, issuer)
    assert (done.code, done.out) == (0, "")
    lines = done.err.splitlines()
    assert lines[0] == f"To log in at {issuer.url}, open this page in a browser, on this machine or another:"
    assert lines[1:4] == [f"  {issuer.url}/device", "and enter or compare this code:", f"  {CODE}"]
    assert "act in your name. Confirm no code that you did not ask for here yourself" in lines[4]
    assert lines[-1] == f"logged in at {issuer.url} as alice@example.com (sub alice-1)"


def test_no_token_is_printed(issuer: LoginIssuer, where: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the device code nor a token of the issuer is printed, by login, logout or a failure."""
    said = log_in(capsys, issuer).err
    login = store.load(where)
    assert login is not None
    issuer.answers.append((400, {"error": "invalid_grant", "error_description": "no"}))
    said += log_in(capsys, issuer).err + command(capsys, "logout").err
    secrets = [login.id_token, login.refresh_token, "device-code-made-up"]
    assert [one for one in secrets if one in said] == []


def test_it_cannot_control_the_terminal(issuer: LoginIssuer, capsys: pytest.CaptureFixture[str]) -> None:
    """What the issuer says is printed without control characters, on lines of its own."""
    issuer.codes["user_code"] = "\x1b[2J\x1b]0;x\x07WD\u202eJB\nerror: run this"
    issuer.claims.update(email="\x1b[2Jalice", sub="a\x9bb")
    shown = log_in(capsys, issuer).err
    issuer.answers.append((400, {"error": "\x1b[1mno", "error_description": "why\x07\nok: logged in"}))
    shown += log_in(capsys, issuer).err
    assert not [char for char in shown if char != "\n" and not char.isprintable()]
    assert not [line for line in shown.splitlines() if line.startswith(("error: run", "ok:"))]
    assert "\\x1b[2J" in shown


@pytest.mark.parametrize(
    ("error", "said"),
    [("access_denied", "the login was denied in the browser"), ("expired_token", "the code was not confirmed in time")],
)
def test_not_confirmed(
    issuer: LoginIssuer, where: Path, capsys: pytest.CaptureFixture[str], error: str, said: str
) -> None:
    """A login that was not confirmed exits with 4, and nothing is kept."""
    issuer.answers.append((400, {"error": error}))
    done = log_in(capsys, issuer)
    assert (done.code, done.err.splitlines()[-1].partition(";")[0]) == (4, f"error: {said}")
    assert store.load(where) is None


def test_ctrl_c_ends_the_waiting(
    issuer: LoginIssuer, where: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends the waiting with 130 and one line; nothing is kept."""

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "log_in", functools.partial(session.log_in, sleep=interrupted))
    done = log_in(capsys, issuer)
    assert (done.code, done.err.splitlines()[-1], store.load(where)) == (130, "interrupted", None)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 1, "no issuer: pass --issuer"),
        (("--issuer", "https://login.example"), 1, "no client ID: pass --client-id"),
        (("--issuer", "http://login.example", "--client-id", "c"), 1, "the issuer's URL must start with https://"),
        (("--issuer", "http://127.0.0.1:1", "--client-id", "c"), 2, "cannot reach 127.0.0.1:1"),
    ],
)
def test_mistakes(
    issuer: LoginIssuer, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    """A missing or unusable option is 1, an issuer that cannot be reached 2."""
    assert issuer.asked == []
    done = command(capsys, "login", *arguments)
    assert (done.code, said in done.err) == (code, True), done.err


def test_the_last_login_is_repeated(
    issuer: LoginIssuer, where: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without options the issuer and the client are the last login's; variables name others."""
    assert log_in(capsys, issuer).code == 0
    assert command(capsys, "login").code == 0
    monkeypatch.setenv("KEYBROKER_LOGIN_ISSUER", issuer.url)
    monkeypatch.setenv("KEYBROKER_LOGIN_CLIENT_ID", "another")
    assert "for another client" in command(capsys, "login").err
    assert issuer.asked[-2][1]["client_id"] == "another"
    assert store.load(where) is not None


def test_logout_revokes(issuer: LoginIssuer, where: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A logout removes the login and revokes it; a second one has nothing to do."""
    log_in(capsys, issuer)
    assert command(capsys, "logout") == Done(0, "", "logged out\n")
    assert (store.load(where), issuer.asked[-1][0]) == (None, "/revoke")
    assert command(capsys, "logout") == Done(0, "", "not logged in\n")


def test_logout_removes_in_any_case(issuer: LoginIssuer, where: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the issuer cannot revoke, or the file is broken, it is removed all the same, and that is said."""
    log_in(capsys, issuer)
    issuer.revocation = (503, {})
    done = command(capsys, "logout")
    assert (done.code, "removed from this machine, but was not revoked" in done.err, store.load(where)) == (
        2,
        True,
        None,
    )
    log_in(capsys, issuer)
    del issuer.discovery["revocation_endpoint"]
    assert "offers no revocation" in command(capsys, "logout").err
    (where / store.FILE).write_text("broken")
    (where / store.FILE).chmod(0o600)
    done = command(capsys, "logout")
    assert (done.code, "nothing was revoked" in done.err, store.load(where)) == (1, True, None)


def keep(where: Path, id_token: str, refresh_token: str = "") -> dict[str, str]:
    """Keep a login, and return the environment that finds it."""
    with store.locked(where):
        store.save(where, Login("http://127.0.0.1:1", CLIENT, id_token, refresh_token))
    return {"XDG_STATE_HOME": str(where.parent)}


def test_commands_use_the_login(running: Running, where: Path) -> None:
    """whoami, token, exec and exec --proxy use the login where there is no other identity."""
    environ = {**keep(where, running.mint("3021")), "KEYBROKER_URL": running.broker}
    assert run("whoami", environ=environ).out.splitlines()[0] == "source    login"
    assert run("token", "--key", "openai", environ=environ).out.count(".") == 2
    # The practice issuer's tokens are single-use for each grant, so the next two need others.
    shell = ("sh", "-c", 'test -n "$OPENAI_API_KEY"')
    for repository, options in (("3022", ()), ("3023", ("--proxy",))):
        keep(where, running.mint(repository))
        assert run("exec", *options, "--key", "openai", "--", *shell, environ=environ).code == 0


@pytest.mark.parametrize("options", [(), ("--proxy",), ("--keep-identity",)])
def test_the_program_gets_no_login(running: Running, where: Path, options: tuple[str, ...]) -> None:
    """A program of exec does not find the login, with which it could get other tokens; --keep-identity lets it."""
    repository = {(): "3025", ("--proxy",): "3026"}.get(options, "3027")
    environ = {**keep(where, running.mint(repository)), "KEYBROKER_URL": running.broker}
    program = (sys.executable, "-m", "keybroker.cli", "whoami")
    done = run("exec", *options, "--key", "openai", "--", *program, environ=environ)
    keeps = "--keep-identity" in options
    assert (done.code, "source    login" in done.out) == ((0, True) if keeps else (4, False)), done
    assert ("keybroker exec gave this program a token instead" in done.err) == (not keeps)


def test_an_ended_login_is_4(where: Path, running: Running) -> None:
    """A login that has ended exits with 4 and says what to do; AWS credentials are not taken in its place."""
    aws = {"AWS_ACCESS_KEY_ID": "AKIDUSER", "AWS_SECRET_ACCESS_KEY": "made-up", "KEYBROKER_URL": running.broker}
    done = run(
        "token", "--key", "openai", environ={**keep(where, running.mint("3021", exp=int(time.time()) - 9)), **aws}
    )
    assert (done.code, "has ended: run keybroker login" in done.err) == (4, True), done.err
    assert "keybroker logout removes it" in done.err


def test_a_refused_login_names_the_client(where: Path, running: Running) -> None:
    """A login of an issuer that the policy does not list gets the advice that fits a login."""
    token = running.mint("3021", iss="https://login.example")
    done = run("token", "--key", "openai", environ={**keep(where, token), "KEYBROKER_URL": running.broker})
    assert done.code == 3
    assert "the policy must list issuer 'https://login.example' with audience 'keybroker', the client ID" in done.err


@pytest.mark.slow
def test_login_as_a_user_runs_it(tmp_path: Path) -> None:
    """A login in a process of its own waits for the issuer's interval and is kept."""
    with login_issuer() as issuer:
        issuer.codes["interval"] = 1
        environ = {
            "XDG_STATE_HOME": str(tmp_path),
            "KEYBROKER_LOGIN_ISSUER": issuer.url,
            "KEYBROKER_LOGIN_CLIENT_ID": CLIENT,
        }
        done = run("login", environ=environ)
        assert (done.code, done.out, done.err.splitlines()[-1]) == (0, "", f"logged in at {issuer.url} as sub alice-1")
        assert "source    login" in run("whoami", environ=environ).out
