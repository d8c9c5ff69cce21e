"""Events as they are written."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import pytest

from keybroker.cli.admin_client import AdminClient
from keybroker.cli.audit_follow import follow
from keybroker.cli.command_error import REFUSED, REMOTE, CommandError
from tests.keybroker.cli.keybroker_command import administrator, bare
from tests.running import Running

START = 1_795_500_000


def event(number: int, at: int) -> dict[str, Any]:
    return {"id": f"id-{number}", "at": at}


class Scripted(AdminClient):
    """Answers one look after the other: events, newest first, or a fault."""

    looks: Iterator[list[dict[str, Any]] | CommandError]
    asked: list[object]

    def items(self, path: str, query: Mapping[str, object], most: int | None = None) -> Iterator[Any]:  # noqa: ARG002  as there
        type(self).asked.append(query["since"])
        look = next(type(self).looks)
        if isinstance(look, CommandError):
            raise look
        yield from look


def followed(count: int, *looks: list[dict[str, Any]] | CommandError) -> list[str]:
    Scripted.looks, Scripted.asked = iter(looks), []
    events = follow(Scripted("http://broker.example"), {}, START, lambda _seconds: None)
    return [one["id"] for one in islice(events, count)]


def test_each_event_comes_once_and_in_order() -> None:
    """Events come oldest first, each once, also one that was written late with an earlier time."""
    first, second, late = event(1, START + 10), event(2, START + 100), event(3, START + 60)
    assert followed(3, [first], [second, first], [second, late]) == ["id-1", "id-2", "id-3"]
    assert Scripted.asked == [START, START, START + 40]


def test_a_broker_that_is_away_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    """A broker that does not answer is asked again, which is said once, and nothing is lost."""
    away = CommandError(REMOTE, "cannot reach it")
    assert followed(2, [event(1, START)], away, away, [event(2, START + 1), event(1, START)]) == ["id-1", "id-2"]
    assert capsys.readouterr().err == "cannot reach it; asking again every 2 s\nthere again\n"


def test_a_refusal_ends_it() -> None:
    """A broker that refuses is not asked again."""
    with pytest.raises(CommandError, match="not allowed"):
        followed(1, CommandError(REFUSED, "not allowed"))


@pytest.mark.slow
def test_an_event_is_shown_as_it_comes(running: Running) -> None:
    """What happens while the command runs is shown, one JSON object a line; it ends with Ctrl-C."""
    command = [sys.executable, "-m", "keybroker.cli", "--output", "json", "audit", "--follow", "--kind", "token.issued"]
    environ = {**bare(), **administrator(running)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, text=True) as process:
        assert process.stdout is not None
        shown: queue.SimpleQueue[str] = queue.SimpleQueue()
        lines = iter(process.stdout.readline, "")
        threading.Thread(target=lambda: deque(map(shown.put, lines), maxlen=0), daemon=True).start()
        found: list[str] = []
        for number in range(50):  # what happens before the first look is not shown
            running.token(f"44{number:02d}")
            with contextlib.suppress(queue.Empty):
                found.append(json.loads(shown.get(timeout=3))["principal"])
            if len(found) == 2:
                break
        process.send_signal(2)
        process.wait(10)
    assert len(set(found)) == 2
    assert process.returncode == 130
