"""`keybroker …`: finds the command, runs it, and reports what went wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click
from click import shell_completion

from keybroker.cli import output
from keybroker.cli.command_error import INTERRUPTED, LOCAL, CommandError, from_error
from keybroker.cli.settings import Settings, common_options
from keybroker.errors import KeybrokerError

NAME = "keybroker"
COMPLETE = "_KEYBROKER_COMPLETE"
"""Set by the script that `keybroker completion` prints, when the shell asks for completions."""
COMMANDS = {
    "token": "token:token",
    "exec": "exec_command:exec_command",
    "proxy": "proxy:proxy",
    "whoami": "whoami:whoami",
    "login": "login:login",
    "logout": "logout:logout",
    "policy": "policy:policy",
    "revoke": "revoke:revoke",
    "restore": "revocations:restore",
    "revocations": "revocations:revocations",
    "console": "console:console",
    "principals": "principals:principals",
    "status": "status:status",
    "usage": "usage:usage",
    "audit": "audit:audit",
    "keys": "keys:keys",
    "signing": "signing:signing",
    "federation": "federation:federation",
    "setup": "setup:setup",
    "doctor": "doctor:doctor",
    "completion": "completion:completion",
    "init": "server:init",
    "serve": "server:serve",
    "admins": "server:admins",
    "state": "server:state",
    "gateway": "server:gateway",
}
"""Name -> module of this package and name in it; only the one that runs is imported."""


class Commands(click.Group):
    """The commands, each imported when it is needed: `token` runs often, and must be fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  as click has it
        """Return the names, in the order of `--help`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  as click has it
        """Return the command of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"keybroker.cli.{module}"), name)
        return command


@click.command(cls=Commands, name=NAME, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="keybroker", prog_name=NAME)
@common_options
def root() -> None:
    """Get short-lived tokens for APIs that use static keys, and control who gets them.

    Exit codes: 0 success, 1 error in the command or a file, 2 broker unreachable or failing, 3 refused by the broker,
    4 no identity found, 5 quota used up.
    """


def run(arguments: Sequence[str], *, owns_process: bool = False) -> int:
    """Run one command and return its exit code; every failure is reported on stderr, without a traceback.

    owns_process: whether this process was started with these arguments, and for nothing else.
    """
    try:
        code = _run(arguments, owns_process=owns_process)
        sys.stdout.flush()
    except BrokenPipeError:
        return _output_closed()
    except (click.Abort, KeyboardInterrupt):
        if sys.stderr.isatty():
            sys.stderr.write("\n")  # after the ^C that the terminal shows
        output.message("interrupted")
        return INTERRUPTED
    except click.exceptions.Exit as exited:
        return exited.exit_code
    except click.exceptions.NoArgsIsHelpError as usage:
        sys.stderr.write(f"{usage.format_message()}\n")
        return LOCAL
    except Exception as error:  # noqa: BLE001  the last line of defence: a traceback may show secrets
        return _report(_as_command_error(error))
    return code


def _run(arguments: Sequence[str], *, owns_process: bool) -> int:
    instruction = os.environ.get(COMPLETE)
    if instruction:
        return shell_completion.shell_complete(root, {}, NAME, COMPLETE, instruction)
    # Not `root.main`: it exits silently when the output is closed.
    with root.make_context(NAME, list(arguments), obj=_settings(owns_process=owns_process)) as context:
        code = root.invoke(context)
    return code if isinstance(code, int) else 0


def _settings(*, owns_process: bool) -> Settings:
    form = os.environ.get("KEYBROKER_OUTPUT") or "table"
    if form not in ("table", "json"):
        raise CommandError(LOCAL, f"KEYBROKER_OUTPUT is {form!r}; it must be table or json")
    admin = os.environ.get("KEYBROKER_ADMIN_URL", "")
    url = os.environ.get("KEYBROKER_URL", "")
    return Settings(url=url, admin_url=admin, output=form, owns_process=owns_process)


def _as_command_error(error: Exception) -> CommandError:
    if isinstance(error, CommandError):
        return error
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = [f"see {context.command_path} --help"] if context else []
        return CommandError(LOCAL, error.format_message(), *hint)
    if isinstance(error, KeybrokerError):
        return from_error(error)
    if isinstance(error, OSError):
        return CommandError(LOCAL, f"{error.filename or 'this machine'}: {error.strerror or error}")
    if os.environ.get("KEYBROKER_TRACEBACK"):
        raise error
    # SECURITY: its text may contain secrets, so only its type is shown (tests/keybroker/cli/test_program.py).
    text = f"internal error in keybroker ({type(error).__name__}); set KEYBROKER_TRACEBACK=1 for the traceback"
    return CommandError(LOCAL, text)


def _output_closed() -> int:
    # Otherwise Python would report it again at exit, when it flushes the rest.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    output.message("output closed before everything was written")
    return LOCAL


def _report(error: CommandError) -> int:
    first, *more = error.lines
    if not error.reason_last:
        output.labelled("error", first)
    for line in more:
        output.message(line if error.reason_last else f"  {line}")
    if error.reason_last:
        output.labelled("error", first)
    return error.code
