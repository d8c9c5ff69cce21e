from __future__ import annotations

import pytest

from tests.keybroker.cli import terminal
from tests.keybroker.cli.keybroker_command import administrator, run
from tests.running import Running

VALUE = "sk-made-up-0123456789abcdef"


def test_a_value_that_is_typed_is_not_shown(running: Running) -> None:
    asked = {"New value (hidden): ": f"{VALUE}\n"}
    code, shown = terminal.run("keys", "set", "openai", "--dry-run", environ=administrator(running), typed=asked)
    assert code == 0, shown
    assert "dry run" in shown
    assert VALUE not in shown


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_line_end_is_no_part_of_the_value(running: Running, ending: str) -> None:
    done = run("keys", "set", "openai", "--dry-run", environ=administrator(running), stdin=VALUE + ending)
    assert (done.code, done.out) == (0, "")


def test_a_value_with_a_line_in_it_is_refused_and_not_shown(running: Running) -> None:
    done = run("keys", "set", "openai", environ=administrator(running), stdin=f"{VALUE}\n{VALUE}\n")
    assert done.code == 3
    assert VALUE not in done.out + done.err


def test_there_is_no_way_to_say_the_value_on_the_command_line(running: Running) -> None:
    done = run("keys", "set", "openai", VALUE, environ=administrator(running))
    assert (done.code, done.err.splitlines()[-1]) == (1, "  see keybroker keys set --help")
