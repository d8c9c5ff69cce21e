"""`--watch`: what is shown again and again."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest

from keybroker.cli import output, watching
from keybroker.cli.settings import Settings
from tests.keybroker.cli.keybroker_command import COMMAND, administrator, bare, run
from tests.running import Running


class _EnoughError(Exception):
    pass


def _pauses(most: int) -> tuple[list[float], object]:
    found: list[float] = []

    def pause(seconds: float) -> None:
        if len(found) == most:
            raise _EnoughError
        found.append(seconds)

    return found, pause


@pytest.mark.parametrize(("form", "cleared"), [("table", 3), ("json", 0)])
def test_it_is_shown_again(form: str, cleared: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something is shown at once and after each pause; a terminal is cleared for a table, and never for JSON lines."""
    shown, clears = [], []
    monkeypatch.setattr(output, "clear", lambda: clears.append(1))
    settings, (found, pause) = replace(Settings(), output=form), _pauses(3)
    with pytest.raises(_EnoughError):
        watching.shown(settings, 5, lambda: shown.append(settings.lines), pause)  # type: ignore[arg-type]  # it is one
    assert (shown, found, len(clears)) == ([True] * 4, [5, 5, 5], cleared)


def test_once_without_it() -> None:
    """Without --watch something is shown once, and JSON is indented."""
    shown, settings = [], Settings()
    watching.shown(settings, None, lambda: shown.append(settings.lines))
    assert shown == [False]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [("usage",), ("usage", "--since", "30m"), ("principals",), ("revocations", "--all")], ids=" ".join
)
def test_each_look_is_a_line_of_json(running: Running, command: tuple[str, ...]) -> None:
    """With --watch and --output json, a reader gets a whole document from each line; without --watch it is indented."""
    running.token("4501")
    running.revoke("principal", running.sub("4502"), reason="a drill")
    environ = administrator(running)
    once = run(*command, "--output", "json", environ=environ).out
    assert once.count("\n") > 1
    process = subprocess.Popen(
        [*COMMAND, *command, "--watch", "1", "--output", "json"],
        env={**bare(), **environ},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        found = [json.loads(process.stdout.readline()) for _ in range(2)]
    finally:
        process.kill()
        process.wait(timeout=10)
        process.stdout.close()
    assert [type(one) for one in found] == [type(json.loads(once))] * 2
