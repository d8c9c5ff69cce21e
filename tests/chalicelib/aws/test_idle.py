"""Connections after a freeze: their other end has reset them, or forgotten them without a word."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from chalicelib.aws import idle
from chalicelib.aws.dynamodb import Tables, read_item
from tests.faulty_dynamodb import Door, Turn, door, serves, tables_behind

KEY = {"pk": {"S": "signing"}, "sk": {"S": "-"}}


@pytest.fixture(scope="module")
def one() -> Iterator[tuple[Door, Tables]]:
    """A door, and the tables behind it."""
    with door() as opened, tables_behind(opened) as tables:
        yield opened, tables


class Thaw:
    """Serves on new connections only, as if those of before had been forgotten while this was frozen."""

    def __init__(self) -> None:
        self.before: set[tuple[str, int]] = set()
        self.seen: list[tuple[str, int]] = []

    def __call__(self, turn: Turn) -> None:
        self.seen.append(turn.client_address)
        if turn.client_address in self.before:
            turn.rest()
            turn.hang_up()
        else:
            serves(turn)

    def freeze(self) -> None:
        """Forget every connection so far."""
        self.before = set(self.seen)


def test_connection_that_was_idle_long_is_not_used(one: tuple[Door, Tables], monkeypatch: pytest.MonkeyPatch) -> None:
    """After a freeze each call takes a new connection, so that the first is answered as well as any."""
    opened, tables = one
    moment = [0.0]
    monkeypatch.setattr(idle, "now", lambda: (0.0, moment[0]))
    thaw = Thaw()
    with opened.failing(thaw):
        for frozen in range(3):
            assert read_item(tables, KEY) == {}
            thaw.freeze()
            moment[0] += idle.IDLE_SECONDS + 1
            assert len(set(thaw.seen)) == frozen + 1


def test_connection_that_was_just_used_is_kept(one: tuple[Door, Tables], monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is used again within the seconds that it may be idle."""
    opened, tables = one
    ticks = itertools.count(start=100.0, step=idle.IDLE_SECONDS / 2)
    monkeypatch.setattr(idle, "now", lambda: (next(ticks), 0.0))
    thaw = Thaw()
    with opened.failing(thaw):
        for _ in range(3):
            read_item(tables, KEY)
    assert len(set(thaw.seen)) == 1


@pytest.mark.parametrize(
    ("until", "is_too_long"),
    [((4.0, 4.0), False), ((4.1, 0.0), True), ((0.0, 4.1), True), ((0.0, -4.1), True), ((0.0, -3.0), False)],
)
def test_either_clock_counts(until: idle.Moment, is_too_long: bool) -> None:  # noqa: FBT001  a column of the table
    """It was too long by the clock that stood still in the freeze, or by the one that was set."""
    assert idle.is_too_long((0.0, 0.0), until) is is_too_long
