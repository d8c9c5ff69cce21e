"""The zip as Lambda freezes and thaws it: whatever became of its connections meanwhile, the next call goes on, counted once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.edge_zip.running import Behind, behind

pytestmark = pytest.mark.slow  # it is built, with all its wheels

FROZEN = 60.0
"""Seconds that it was frozen for, by its wall clock."""
ROUNDS = 3


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    with behind(tmp_path_factory.mktemp("zip"), "thaw") as one:
        yield one


def test_connections_reset_while_frozen(there: Behind) -> None:
    """AWS closes what a frozen container keeps; the first call after the thaw goes on."""
    token = there.token()
    with there.running() as edge:
        for _ in range(ROUNDS):
            assert "origin" in edge.call(token)
            with edge.frozen():
                there.line.reset()
        assert "origin" in edge.call(token)
        assert (there.counted(token), edge.log()) == ((ROUNDS + 1, 0), [])


def test_connections_dropped_while_frozen(there: Behind) -> None:
    """What is between may forget a connection without a word: it is not used, so nobody waits for it."""
    token = there.token()
    before, _ = there.counted(token)
    with there.running() as edge:
        for _ in range(ROUNDS):
            assert "origin" in edge.call(token)
            with edge.frozen():
                there.line.forget()
            edge.ahead += FROZEN
        assert "origin" in edge.call(token)
        assert (there.counted(token), edge.log()) == ((before + ROUNDS + 1, 0), [])


def test_connections_disowned_in_a_pause(there: Behind) -> None:
    """A far end that knows nothing of an idle connection says so at the first byte; that byte is never sent."""
    token = there.token()
    before, _ = there.counted(token)
    with there.running() as edge:
        for _ in range(ROUNDS):
            assert "origin" in edge.call(token)
            there.line.disown()
            edge.ahead += FROZEN
        assert "origin" in edge.call(token)
        assert (there.counted(token), edge.log()) == ((before + ROUNDS + 1, 0), [])
