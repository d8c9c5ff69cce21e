"""`keybroker …`: finds the command, runs it, and ends with a line that says what went wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click
from click import shell_completion

from keybroker.cli import failure, output, place
from keybroker.cli.failure import INTERRUPTED, LOCAL, Failure
from keybroker.cli.place import Place
from keybroker.errors import KeybrokerError

NAME = "keybroker"
COMPLETE = "_KEYBROKER_COMPLETE"
"""Set by the script that `keybroker completion` prints, when the shell asks what could stand here."""
COMMANDS = {
    "token": "token:token",
    "exec": "exec_command:exec_command",
    "proxy": "proxy:proxy",
    "whoami": "whoami:whoami",
    "policy": "policy:policy",
    "revoke": "revoke:revoke",
    "restore": "revocations:restore",
    "revocations": "revocations:revocations",
    "principals": "principals:principals",
    "usage": "usage:usage",
    "audit": "audit:audit",
    "keys": "keys:keys",
    "setup": "setup:setup",
    "doctor": "doctor:doctor",
    "completion": "completion:completion",
}
"""Name -> module of this package and name in it; only the one that runs is imported."""


class Commands(click.Group):
    """The commands, each imported when it is needed: `token` is asked for often, and must be quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  as click has it
        """Return the names, in the order in which they are of use."""
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
@place.options
def root() -> None:
    """Short-lived tokens for APIs that a static key opens, and what decides who gets them.

    Exit codes: 0 done, 1 a mistake in the command or a file, 2 the broker was not reached, 3 it refused,
    4 no identity was found here, 5 a quota is used up.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; every way to end is said on stderr, without a stack trace."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        return _closed()
    except (click.Abort, KeyboardInterrupt):
        if sys.stderr.isatty():
            sys.stderr.write("\n")  # after the ^C that the terminal shows
        output.message("interrupted")
        return INTERRUPTED
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as asked:
        sys.stderr.write(f"{asked.format_message()}\n")
        return LOCAL
    except Exception as fault:  # noqa: BLE001  the last line of defence: a trace may show what must not be shown
        return _ended(_failure(fault))
    return code


def _run(arguments: Sequence[str]) -> int:
    instruction = os.environ.get(COMPLETE)
    if instruction:
        return shell_completion.shell_complete(root, {}, NAME, COMPLETE, instruction)
    # Not `root.main`, which ends the process by itself when the output is closed, and says nothing.
    with root.make_context(NAME, list(arguments), obj=_place()) as context:
        code = root.invoke(context)
    return code if isinstance(code, int) else 0


def _place() -> Place:
    kind = os.environ.get("KEYBROKER_OUTPUT") or "table"
    if kind not in ("table", "json"):
        raise Failure(LOCAL, f"KEYBROKER_OUTPUT is {kind!r}; table or json")
    admin = os.environ.get("KEYBROKER_ADMIN_URL", "")
    return Place(url=os.environ.get("KEYBROKER_URL", ""), admin_url=admin, output=kind)


def _failure(fault: Exception) -> Failure:
    if isinstance(fault, Failure):
        return fault
    if isinstance(fault, click.ClickException):
        context = fault.ctx if isinstance(fault, click.UsageError) else None
        hint = [f"see {context.command_path} --help"] if context else []
        return Failure(LOCAL, fault.format_message(), *hint)
    if isinstance(fault, KeybrokerError):
        return failure.of(fault)
    if isinstance(fault, OSError):
        return Failure(LOCAL, f"{fault.filename or 'this machine'}: {fault.strerror or fault}")
    if os.environ.get("KEYBROKER_TRACEBACK"):
        raise fault
    # SECURITY: its text may hold anything, so only its kind is shown (tests/keybroker/cli/test_program.py).
    text = f"a fault in keybroker itself ({type(fault).__name__}); KEYBROKER_TRACEBACK=1 shows where"
    return Failure(LOCAL, text)


def _closed() -> int:
    # Python would say so once more at its end, when it flushes what is left.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    output.message("the output was closed before everything was written")
    return LOCAL


def _ended(ended: Failure) -> int:
    first, *more = ended.lines
    output.labelled("error", first)
    for line in more:
        output.message(f"  {line}")
    return ended.code
