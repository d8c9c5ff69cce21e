"""A command at a terminal, which a test types into and looks at."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping

from tests.keybroker.cli.keybroker_command import COMMAND, SECONDS, bare, without_waiting

CTRL_C = "\x03"
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
"""Makes the terminal the one that /dev/tty is, in the new process."""


def run(
    *arguments: str, environ: Mapping[str, str] | None = None, typed: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run one command at a terminal; return its exit code and what the terminal showed.

    typed: after what is shown -> what is typed then.
    """
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [COMMAND[0], "-c", _TAKE_TERMINAL, *COMMAND, *arguments],
        env={**bare(), "TERM": "xterm", **(environ or {})},
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    try:
        shown = _watch(ours, dict(typed or {}))
        return process.wait(timeout=SECONDS), without_waiting(shown)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _watch(terminal: int, typed: dict[str, str]) -> str:
    shown, last, ends = "", "", time.monotonic() + SECONDS
    while time.monotonic() < ends:
        if not select.select([terminal], [], [], 1)[0]:
            if last == CTRL_C:  # it came between Python's last look and its read, so a person would press it again
                os.write(terminal, last.encode())
            continue
        try:
            read = os.read(terminal, 4096)
        except OSError:  # how Linux reports that the other end is closed
            return shown
        if not read:
            return shown
        shown += read.decode()
        for after in [one for one in typed if one in shown]:
            last = typed.pop(after)
            os.write(terminal, last.encode())
    raise TimeoutError(shown)
