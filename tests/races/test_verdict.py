"""The race itself is tried: a revocation that is not what it says is found out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from local.sqlite.state_file import WAIT_MS, StateFile
from tests.races.course import Course, Field, decided
from tests.races.processes import course_over
from tests.races.stores import SqliteStore
from tests.races.verdict import ADMITTED, BUSY, ISSUED, Call, Mint, Moments, Round, Tally

_MOMENTS = Moments(revoking=10, acknowledged=11, restoring=20, restored=21)
_OLD, _NEW = (0, 0, 0, 0, 0), (0, 0, 0, 1, 0)
_OF_OLD, _OF_NEW = Mint(1, 2, ISSUED, "old", _OLD), Mint(22, 23, ISSUED, "new", _NEW)
_FINE = [
    Call("old", 5, 6, ADMITTED),
    Call("old", 12, 13, "revoked_grant"),
    Call("old", 30, 31, "stale_grant"),
    Call("new", 30, 31, ADMITTED),
]
_REFUSED = Mint(12, 13, "revoked_grant")


def _wrongs(calls: list[Call], mints: list[Mint], scope: str = "grant", target: str = "ci") -> set[str]:
    tally = Tally(scope)
    tally.add(Round(scope, target, _NEW, _MOMENTS, calls, mints))
    return set(tally.wrongs())


def test_a_race_that_went_as_it_should_has_nothing_wrong() -> None:
    calls = [
        *_FINE,
        Call("old", 10.5, 10.9, ADMITTED),
        Call("old", 10.5, 12, ADMITTED),
        Call("old", 19, 22, "stale_grant"),
    ]
    assert _wrongs([*calls, Call("old", 14, 15, BUSY)], [_OF_OLD, _OF_NEW, _REFUSED]) == set()


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        (Call("old", 11.1, 11.2, ADMITTED), "admitted after the acknowledgement"),
        (Call("old", 19, 30, ADMITTED), "admitted after the acknowledgement"),
        (Call("unheard-of", 12, 13, ADMITTED), "admitted after the acknowledgement"),
        (Call("old", 25, 26, ADMITTED), "admitted with a token from before the revocation"),
        (Call("across", 25, 26, ADMITTED), "admitted with a token from before the revocation"),
        (Call("old", 5, 6, "revoked_grant"), "refused for another reason"),
        (Call("old", 12, 13, "revoked_key"), "refused for another reason"),
        (Call("new", 25, 26, "stale_grant"), "refused for another reason"),
    ],
)
def test_a_call_that_breaks_a_rule_is_found(call: Call, wrong: str) -> None:
    across = Mint(9, 24, ISSUED, "across", _OLD)
    assert _wrongs([*_FINE, call], [_OF_OLD, _OF_NEW, _REFUSED, across]) == {wrong}


@pytest.mark.parametrize(
    ("mint", "wrong"),
    [
        (Mint(12, 13, ISSUED, "other", _OLD), "exchanged after the acknowledgement"),
        (Mint(12, 13, "revoked_key"), "refused for another reason"),
        (Mint(1, 2, "revoked_grant"), "refused for another reason"),
    ],
)
def test_an_exchange_that_breaks_a_rule_is_found(mint: Mint, wrong: str) -> None:
    assert _wrongs(_FINE, [_OF_OLD, _OF_NEW, _REFUSED, mint]) == {wrong}


def test_a_race_that_was_none_is_found() -> None:
    assert _wrongs([], []) == {
        "there was no race, for a round had no call admitted before",
        "there was no race, for nobody called after",
        "there was no race, for nobody exchanged after",
        "there was no race, for no fresh token was used after the restore",
    }


def test_where_a_token_is_revoked_others_go_on() -> None:
    calls = [Call("new", 12, 13, ADMITTED), Call("new", 30, 31, ADMITTED), Call("old", 5, 6, ADMITTED)]
    dead = [Call("old", 12, 13, "revoked_token"), Call("old", 30, 31, "stale_token")]
    assert _wrongs([*calls, *dead], [_OF_OLD, _OF_NEW], "token", "old") == set()
    assert _wrongs([*calls, *dead, Call("old", 30, 31, ADMITTED)], [_OF_OLD, _OF_NEW], "token", "old") == {
        "admitted with a token from before the revocation"
    }


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state file."""
    directory = tmp_path_factory.mktemp("flaws")
    StateFile.create(directory / "state.db")
    return directory / "state.db"


@pytest.fixture(scope="module")
def real(path: Path) -> Iterator[Field]:
    """Three processes over it."""
    with course_over(SqliteStore(path, patience=WAIT_MS), path.parent) as made:
        yield made.field


@dataclass
class _Flawed:
    """A field whose revocations are not what they should be."""

    real: Field

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)


@dataclass
class _Early(_Flawed):
    """Acknowledges a revocation before it is in force."""

    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    made: Future[str] = field(default_factory=Future)

    def revoke(self, scope: str, target: str) -> str:
        """See `Field.revoke`."""

        def late() -> str:
            time.sleep(0.05)
            return decided(lambda: self.real.revoke(scope, target))

        self.made = self.threads.submit(late)
        return "to come"

    def restore(self, revocation_id: str) -> None:
        """See `Field.restore`."""
        assert revocation_id == "to come"
        self.real.restore(self.made.result())


@dataclass
class _WithoutEpochs(_Flawed):
    """Blocks, and does nothing else."""

    state: StateFile = field(kw_only=True)

    def revoke(self, scope: str, target: str) -> str:
        """See `Field.revoke`."""
        made = self.real.revoke(scope, target)
        decided(lambda: self._undo(scope, target))
        return made

    def _undo(self, scope: str, target: str) -> None:
        with self.state.writing() as connection:
            connection.execute("UPDATE things SET epoch = epoch - 1 WHERE scope = ? AND id = ?", (scope, target))


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["grant", "token"])
def test_a_revocation_that_is_acknowledged_too_early_is_found(real: Field, scope: str) -> None:
    flawed: Field = _Early(real)  # type: ignore[assignment]  # it passes on what it does not change
    assert "admitted after the acknowledgement" in Course(flawed).run(scope, 3).wrongs()


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["principal", "token"])
def test_a_revocation_that_only_blocks_is_found(real: Field, path: Path, scope: str) -> None:
    state = StateFile(path, durable=False)
    flawed: Field = _WithoutEpochs(real, state=state)  # type: ignore[assignment]  # as above
    wrongs = Course(flawed).run(scope, 3).wrongs()
    state.close()
    assert "admitted with a token from before the revocation" in wrongs
