from __future__ import annotations

import pytest

from tests.keybroker.cli import terminal
from tests.keybroker.cli.keybroker_command import administrator, run
from tests.running import Running

VALUE = "sk-made-up-0123456789abcdef"


def test_a_typed_value_is_not_shown(running: Running) -> None:
    """A value that is typed at the prompt is not echoed."""
    asked = {"New value (hidden): ": f"{VALUE}\n"}
    code, shown = terminal.run(
        "keys", "set", "openai", "--no-probe", "--dry-run", environ=administrator(running), typed=asked
    )
    assert code == 0, shown
    assert "dry run" in shown
    assert VALUE not in shown


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_line_end_is_not_part_of_the_value(running: Running, ending: str) -> None:
    """A line end after the value is removed."""
    done = run("keys", "set", "openai", "--no-probe", "--dry-run", environ=administrator(running), stdin=VALUE + ending)
    assert (done.code, done.out) == (0, "")


def test_a_value_of_two_lines_is_refused(running: Running) -> None:
    """A value with a line break in it is refused, and not shown."""
    done = run("keys", "set", "openai", environ=administrator(running), stdin=f"{VALUE}\n{VALUE}\n")
    assert done.code == 3
    assert VALUE not in done.out + done.err


def test_the_value_is_not_an_argument(running: Running) -> None:
    """The value cannot be given on the command line."""
    done = run("keys", "set", "openai", VALUE, environ=administrator(running))
    assert (done.code, done.err.splitlines()[-1]) == (1, "  see keybroker keys set --help")
