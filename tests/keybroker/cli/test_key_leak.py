"""The report after a leak, over a server that answers as it is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from keybroker.cli import key_leak
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.key_leak import Used
from tests.keybroker.cli.canned_server import CannedServer, serving
from tests.keybroker.cli.keybroker_command import administrator, run
from tests.keybroker.cli.rotation_answers import answer, item, listed, rotation, state
from tests.running import Running

DAY = 86_400


@pytest.fixture
def server(running: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[CannedServer]:
    for name, value in administrator(running).items():
        monkeypatch.setenv(name, value)
    with serving() as one:
        yield one


def days(*starts: int, complete: bool = True) -> list[bytes]:
    """Return a series in which there were calls on these days, and none on another."""
    items = [{"start": start, "principals": 1} for start in starts]
    return answer(200, {"items": [{"start": 0, "principals": 0}, *items], "complete": complete})


def uses(*found: tuple[str, int, int]) -> list[bytes]:
    """Return what was used on a day: principal, calls, last seen."""
    items = [
        {"principal": who, "name": "a job", "grant": "ci", "calls": calls, "last_seen": seen}
        for who, calls, seen in found
    ]
    return answer(200, {"items": items, "next": None})


def row(number: int) -> dict[str, Any]:
    """Return one of many that used it."""
    return {"principal": f"p{number}", "name": "", "grant": "ci", "calls": 1, "since": DAY, "last_seen": DAY}


def test_days_are_added_up(server: CannedServer) -> None:
    """Of several days each caller has one row, with the first day, the last sight and all calls, the busiest first."""
    server.turns = [days(DAY, 2 * DAY), uses(("a", 1, DAY + 5)), uses(("a", 2, 2 * DAY + 5), ("b", 4, 2 * DAY + 6))]
    found = key_leak.used(AdminClient(server.url), item("v1"))
    assert [(one["principal"], one["calls"], one["since"], one["last_seen"]) for one in found.rows] == [
        ("b", 4, 2 * DAY, 2 * DAY + 6),
        ("a", 3, DAY, 2 * DAY + 5),
    ]
    assert found.whole
    assert len(server.seen) == 3


def test_it_begins_when_the_value_was_set(server: CannedServer) -> None:
    """It goes back to when the value that leaked was set, 34 days at most; all of them where that is not known any more."""
    now, longest = int(time.time()), 34 * DAY
    for before, since in (
        (item("v1", at=now - DAY), now - DAY),
        (item("v1", at=now - 90 * DAY), now - longest),
        (item("v2", rotation("overlap"), at=now - 60), now - longest),
    ):
        server.turns = [days()]
        assert abs(key_leak.used(AdminClient(server.url), before).since - since) < 60


def test_what_is_left_out_is_said(server: CannedServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the first twenty are shown, and how many there are besides; what was not read is warned of."""
    server.turns = [days(complete=False)]
    whole = key_leak.used(AdminClient(server.url), item("v1")).whole
    key_leak.show(Used([row(number) for number in range(23)], whole, DAY), item("v1"), ["key_1"])
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 21
    assert "3 more: with --output json, or keybroker usage --key openai\n" in shown.err
    assert "warning: not everything was read: there may be others, and more calls\n" in shown.err


@pytest.mark.parametrize("deleted", [[], ["by hand"], ["key_1", "by hand"]])
def test_what_still_works_is_said(capsys: pytest.CaptureFixture[str], deleted: list[str]) -> None:
    """Unless the key that leaked is known to be deleted, people are told to do that now."""
    key_leak.show(Used([], whole=True, since=DAY), item("v1"), deleted)
    said = capsys.readouterr().err
    assert "still works at the provider: delete it NOW at https://platform.openai.com/api-keys" in said
    key_leak.show(Used([], whole=True, since=DAY), item("v1"), ["key_1"])
    assert "NOW" not in capsys.readouterr().err


def test_it_is_reported_though_the_rotation_failed(running: Running, server: CannedServer) -> None:
    """If the provider does not make a new key, those who used the one that leaked are named all the same."""
    refused = answer(200, state("v1", rotation("creating", "status_401")))
    server.turns = [
        listed(item("v1")),
        answer(200, {"items": [], "next": None}),
        refused,
        days(DAY),
        uses(("a", 7, DAY)),
    ]
    environ = {**administrator(running), "KEYBROKER_URL": server.url}
    done = run("keys", "rotate", "openai", "--leaked", environ=environ)
    assert (done.code, done.out.splitlines()[1].split()[2:5]) == (2, ["a", "ci", "7"])
    assert "error: openai: it is not replaced: the provider does not know the management key" in done.err
