"""How every command ends: with a line for people, the right exit code, and never a stack trace."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import click
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keybroker.cli import program
from keybroker.cli.command_error import from_error
from keybroker.errors import IdentityError, KeybrokerError, NoIdentity, NotConfigured, Refused, Unreachable
from tests.keybroker.cli import terminal
from tests.keybroker.cli.keybroker_command import COMMAND, SECONDS, administrator, bare, job, run
from tests.running import Running

TOKEN_FILE = {"KEYBROKER_ID_TOKEN": "e30.e30.c2ln"}


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never answers; gives its URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def self_signed(tmp_path: Path) -> Iterator[str]:
    """A server with a self-signed certificate; yields its URL."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    alternative = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    certificate = made.add_extension(alternative, critical=False).sign(key, hashes.SHA256())
    plain, pkcs8 = serialization.NoEncryption(), serialization.PrivateFormat.PKCS8
    pem = serialization.Encoding.PEM
    (tmp_path / "pem").write_bytes(key.private_bytes(pem, pkcs8, plain) + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_shake, args=(server, context), daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}"


def _shake(server: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            connection, _ = server.accept()
            context.wrap_socket(connection, server_side=True).close()
        except ssl.SSLError:
            connection.close()
        except OSError:
            return


# What the library raises


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Refused("invalid_grant", "", 400, "r", None), 3),
        (Refused("invalid_target", "why", 400, "r", None), 3),
        (Refused("access_denied", "why", 403, "r", None), 3),
        (Refused("quota_exceeded", "why", 429, "r", 60), 5),
        (Refused("temporarily_unavailable", "", 429, "", None), 2),
        (Refused("temporarily_unavailable", "", 503, "r", 2), 2),
        (Unreachable("no answer"), 2),
        (NoIdentity("nothing here"), 4),
        (IdentityError("broken"), 4),
        (NotConfigured("no url"), 1),
        (KeybrokerError(), 1),
    ],
)
def test_errors_have_an_exit_code_and_a_line(fault: KeybrokerError, code: int) -> None:
    """Each of the library's errors has its exit code and a message."""
    ended = from_error(fault)
    assert ended.code == code
    assert all(ended.lines)


def test_advice_replaces_the_hint() -> None:
    """The library's own advice replaces the command's hint."""
    fault = Unreachable("no answer")
    assert len(from_error(fault).lines) == 2
    fault.advice = "Do this."
    assert from_error(fault).lines == ("no answer", "Do this.")


# What people see


@pytest.mark.parametrize("arguments", [[], ["policy"], ["keys"], ["revoke"], ["setup"]])
def test_an_incomplete_command_shows_its_help(arguments: list[str]) -> None:
    """A command without its subcommand prints its help on stderr."""
    done = run(*arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("Usage: keybroker")
    assert "Commands:" in done.err


@pytest.mark.parametrize("name", program.COMMANDS)
def test_every_command_has_a_help_line(name: str) -> None:
    """Every command has a line of its own in the overview, short enough to be shown whole."""
    command = program.root.get_command(click.Context(program.root), name)
    assert command is not None
    assert command.name == name
    assert 10 < len(command.get_short_help_str(60)) < 50
    assert not command.get_short_help_str(60).endswith("...")


def test_help_and_version_are_data() -> None:
    """Help and version are printed on stdout."""
    assert run("--help").out.startswith("Usage: keybroker")
    assert run("--version").out.startswith("keybroker, version ")
    assert run("token", "-h").code == 0


def test_options_may_stand_anywhere(running: Running) -> None:
    """Common options may stand before or after the command."""
    environ = {**administrator(running), "KEYBROKER_URL": "http://127.0.0.1:1"}
    assert run("--url", running.broker, "keys", "list", environ=environ).code == 0
    assert run("keys", "list", "--url", running.broker, environ=environ).code == 0
    assert run("keys", "--url", running.broker, "list", "--output", "json", environ=environ).out.startswith("[")
    assert run("keys", "list", "--admin-url", running.broker, environ=environ).code == 0
    assert run("keys", "list", environ=environ).code == 2


def test_an_untrusted_certificate_is_refused(self_signed: str) -> None:
    """A broker with an untrusted certificate is sent nothing."""
    done = run("token", "--key", "openai", environ={**TOKEN_FILE, "KEYBROKER_URL": self_signed})
    assert (done.code, done.out) == (2, "")
    assert "certificate" in done.err
    assert TOKEN_FILE["KEYBROKER_ID_TOKEN"] not in done.err


def test_ctrl_c_is_reported(silent: str) -> None:
    """Ctrl-C ends with a message and exit code 130."""
    environ = {**bare(), **TOKEN_FILE, "KEYBROKER_URL": silent}
    command = [*COMMAND, "token", "--key", "openai"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"waiting for {silent} …\n"  # what takes longer than a second says so
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")


def test_a_closed_output_is_reported() -> None:
    """A closed output is reported in one line."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, "policy", "schema"], env=bare(), stdout=writing, stderr=subprocess.PIPE, timeout=SECONDS, check=False
    )
    os.close(writing)
    said = b"output closed before everything was written\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_an_internal_error_shows_its_type_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An internal error shows its type and not its text, which may contain secrets."""
    monkeypatch.setitem(program.COMMANDS, "completion", "completion:_INSTALLATION")  # a dict, which is no command
    monkeypatch.delenv("KEYBROKER_TRACEBACK", raising=False)
    assert program.run(["completion", "bash"]) == 1
    told = "error: internal error in keybroker (AttributeError); set KEYBROKER_TRACEBACK=1 for the traceback\n"
    assert capsys.readouterr().err == told
    monkeypatch.setenv("KEYBROKER_TRACEBACK", "1")
    with pytest.raises(AttributeError):
        program.run(["completion", "bash"])


# Terminals


def test_colours_are_for_terminals() -> None:
    """Colours are used on terminals only, and not with NO_COLOR."""
    code, shown = terminal.run("nope")
    assert (code, "\x1b[31merror:\x1b[0m No such command" in shown) == (1, True)
    for plain in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in terminal.run("nope", environ=plain)[1]
    assert "\x1b" not in run("nope").err


def test_a_table_fits_the_terminal(running: Running) -> None:
    """A table is as wide as the terminal allows."""
    environ = administrator(running)
    wide = terminal.run("keys", "list", environ={**environ, "COLUMNS": "200", "NO_COLOR": "1"})[1].splitlines()
    narrow = terminal.run("keys", "list", environ={**environ, "COLUMNS": "40", "NO_COLOR": "1"})[1].splitlines()
    assert wide[0].split() == [
        "NAME",
        "PROVIDER",
        "HOW",
        "SET",
        "USED",
        "DUE",
        "ROTATION",
        "ORIGIN",
        "HEADER",
        "AUTHOR",
        "VERSION",
    ]
    assert narrow[0].split() == ["name", "anthropic"]
    assert run("keys", "list", environ={**environ, "COLUMNS": "40"}).out.startswith(
        "NAME"
    )  # a pipe is never too narrow


def test_completion_lists_commands() -> None:
    """The completion script and its answers list the commands."""
    asked = {"_KEYBROKER_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    assert run(environ={**asked, "COMP_WORDS": "keybroker re"}).out.split() == [
        f"plain,{name}" for name in ("revoke", "restore", "revocations")
    ]
    for shell in ("bash", "zsh", "fish"):
        assert "_KEYBROKER_COMPLETE" in run("completion", shell).out


# How it is installed


def test_a_missing_extra_is_named() -> None:
    """Without its extra the command says what to install."""
    code = "import sys; sys.modules['click'] = None; from keybroker.cli.__main__ import main; sys.exit(main())"
    done = subprocess.run(
        [COMMAND[0], "-c", code], env=bare(), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    said = "error: the command line needs click and botocore: pip install 'click>=8.5,<9' 'botocore>=1.44,<2'\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_token_imports_nothing_slow(running: Running) -> None:
    """`keybroker token` imports nothing slow that it does not need."""
    done = subprocess.run(
        [COMMAND[0], "-X", "importtime", *COMMAND[1:], "token", "--key", "openai"],
        env={**bare(), **job(running)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert done.stdout.count("\n") == 1
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "click" in imported
    assert not imported & {"botocore", "asyncio", "http.server", "keybroker.cli.policy"}
