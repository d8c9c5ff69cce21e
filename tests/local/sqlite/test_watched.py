from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chalicelib.quota import EVERYBODY
from local.sqlite import watched
from local.sqlite.state_file import StateFile

DAY = 86400
TODAY = 20_000 * DAY
NOW = TODAY + 3600


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateFile]:
    with closing(StateFile.create(tmp_path / "state.db")) as made:
        yield made


def count(
    state: StateFile, principal: str, what: str, start: int, taken: int, *, grant: str = "ci", key: str = "openai"
) -> None:
    with state.writing() as connection:
        row = what, grant, principal, "day", start, taken, key if what == "tokens" else ""
        connection.execute("INSERT INTO counters (what, grant_name, principal, window, start, taken, key) VALUES (?, ?, ?, ?, ?, ?, ?)", row)  # fmt: skip


def test_when_keys_are_due(state: StateFile) -> None:
    """A key with `rotate_after` is due so long after its version was set, one without is never; one without a value is left out."""
    with state.writing() as connection:
        for name, config, version in (
            ("a", '{"provider": "openai", "rotate_after": 86400}', '{"at": 1000}'),
            ("b", '{"provider": "openai"}', '{"at": 2000}'),
            ("c", '{"provider": "openai"}', None),
        ):
            row = name, config, version
            connection.execute("INSERT INTO things (scope, id, config, key_version) VALUES ('key', ?, ?, ?)", row)
    assert watched.keys_set(state) == {"a": (1000, 87_400), "b": (2000, None)}


def test_first_uses(state: StateFile) -> None:
    """A principal counts once for a key that it had no token for before, whatever the grant; everybody is nobody."""
    count(state, "new", "tokens", TODAY, 3)
    count(state, "new", "tokens", TODAY, 3, grant="other")
    count(state, "known", "tokens", TODAY, 1)
    count(state, "known", "tokens", TODAY - 30 * DAY, 1)
    count(state, "by another grant", "tokens", TODAY, 1)
    count(state, "by another grant", "tokens", TODAY - DAY, 1, grant="old")
    count(state, "of another key", "tokens", TODAY, 1, key="anthropic")
    count(state, "of another key", "tokens", TODAY - DAY, 1, grant="old")
    count(state, EVERYBODY, "tokens", TODAY, 9)
    assert watched.first_uses(state, NOW) == {"openai": 1, "anthropic": 1}
    assert watched.first_uses(state, NOW + DAY) == {}


def test_over_own_weeks(state: StateFile) -> None:
    """The most is told of all principals beside their own busiest day; few calls and new ones are not compared."""
    assert watched.over_own_weeks(state, NOW) == 0.0
    for principal, today, before in (("a", 500, 400), ("b", 350, 100), ("few", 99, 1), (EVERYBODY, 9000, 1)):
        count(state, principal, "calls", TODAY, today)
        count(state, principal, "calls", TODAY - 2 * DAY, before)
    count(state, "b", "calls", TODAY - 29 * DAY, 5000)
    count(state, "new", "calls", TODAY, 9000)
    assert watched.over_own_weeks(state, NOW) == 3.5
