"""Keeps this process's secrets from the programs that it starts: out of /proc/PID/environ, and out of its memory's reach.

Linux only: elsewhere only the variables are taken out of the program's environment. Root is not kept
out of this process, and the environment of what started it is as readable as before (docs/threat-model.md).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection

from keybroker.cli import output

_VARIABLE = "_KEYBROKER_ENVIRON"
"""Holds the number of the open file with the values, from a start to the next one."""
_NAME = "keybroker-environ"
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38


def take_back() -> bool:
    """Put the values that `protect` passed over a start back into os.environ; return whether there were any."""
    number = os.environ.pop(_VARIABLE, "")
    if not number.isdecimal() or not _is_ours(number):
        return False
    with os.fdopen(int(number), "rb") as file:
        os.environ.update(json.loads(file.read()))
    return True


def protect(names: Collection[str], *, may_restart: bool) -> None:
    """Start this process anew without these variables in its environment, and make its memory unreadable for its children.

    names: variables that the child does not get. Removing them from os.environ would not help: /proc/PID/environ shows what
    a process was started with. may_restart: False where that was done, or where this process is not ours alone.
    A failure is a warning.
    """
    if not sys.platform.startswith("linux"):
        return
    hidden = {name: os.environ[name] for name in names if name in os.environ}
    if may_restart and hidden and os.path.exists("/proc/self/environ"):  # noqa: PTH110  needs no Path
        _restart(hidden)
    # SECURITY: after the last execve, which resets it (test_the_parent_is_unreadable).
    if not _prctl(_PR_SET_DUMPABLE, 0):
        output.labelled("warning", "this process's memory stays readable for the program (prctl failed)")


def gain_no_privileges() -> bool:
    """Make set-user-ID programs, such as sudo, useless for what this thread starts; return whether that worked."""
    return _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _restart(hidden: dict[str, str]) -> None:
    """Execute the same command line once more; returns only if that fails."""
    rest = {name: value for name, value in os.environ.items() if name not in hidden}
    try:
        file = os.memfd_create(_NAME, 0)  # in memory only, and closed by `take_back`
    except (OSError, AttributeError) as error:
        _warn(error)
        return
    try:
        os.write(file, json.dumps(hidden).encode())
        os.lseek(file, 0, os.SEEK_SET)
        # The same interpreter, options and arguments, so that nothing else is imported than at the first start.
        os.execve(sys.executable or "", [sys.executable, *sys.orig_argv[1:]], {**rest, _VARIABLE: str(file)})  # noqa: S606  itself
    except OSError as error:
        os.close(file)
        _warn(error)


def _warn(error: Exception) -> None:
    reason = getattr(error, "strerror", None) or type(error).__name__
    output.labelled("warning", f"this process's variables stay readable for the program: {reason}")


def _is_ours(number: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{number}").startswith(f"/memfd:{_NAME}")  # noqa: PTH115  needs no Path
    except OSError:
        return False


def _prctl(option: int, value: int) -> bool:
    try:
        import ctypes  # noqa: PLC0415  only needed here, and absent from some builds of Python

        zero = ctypes.c_ulong(0)
        done: int = ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), zero, zero, zero)
    except (ImportError, OSError, AttributeError):
        return False
    return done == 0
