"""What keeps the state file small, and what it must not remove."""

from __future__ import annotations

import logging

import pytest

from chalicelib import quota
from chalicelib.exchange.errors import Replayed
from chalicelib.revocation import TOKEN_REVOCATION_KEPT, RevocationTarget
from local.sqlite.control import SqliteControl
from local.sqlite.edge_state import SqliteEdgeState
from local.sqlite.ledger import SqliteLedger
from local.sqlite.maintenance import SWEEP_SECONDS, Upkeep
from local.sqlite.state_file import StateFile
from local.sqlite.sweep import LOCK_KEPT
from tests.contracts import samples
from tests.local.sqlite.conftest import NOW, Clocks

DAY = 86400
TOKEN = RevocationTarget("token", "token-1")


def rows(state: StateFile, table: str) -> int:
    with state.reading() as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608  the test's own


def revoke_token(state: StateFile, at: int) -> None:
    revocation = samples.revocation(*TOKEN, at=at)
    SqliteControl(state).revoke(revocation, samples.event("revocation.made", at=at))


def use_identity_token(state: StateFile, now: int) -> bool:
    """Exchange one identity token; whether it was its first use."""
    lock = samples.lock("subject-1", expires=NOW + 960)
    try:
        SqliteLedger(state).issue(samples.issuance(lock=lock, now=now), now)
    except Replayed:
        return False
    return True


def live(upkeep: Upkeep, clocks: Clocks, seconds: int, step: int = 3600) -> None:
    """Let time pass, with upkeep every hour."""
    for _ in range(0, seconds, step):
        clocks.go(step)
        upkeep.run()


def test_a_counting_connection_leaves_checkpoints_to_the_upkeep(kept: StateFile) -> None:
    with kept.reading() as connection:
        assert connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)


def test_counters_are_kept_for_usage_and_then_removed(kept: StateFile, clocks: Clocks) -> None:
    SqliteEdgeState(kept).count(quota.counters("calls", "app", "p", NOW))
    SqliteEdgeState(kept).give_back(quota.counters("calls", "app", "p", NOW), "a_test")
    upkeep = Upkeep(kept, clocks)
    live(upkeep, clocks, quota.COUNTERS_KEPT["hour"] - 3600)
    assert (rows(kept, "counters"), rows(kept, "refusals")) == (3, 3)
    live(upkeep, clocks, 2 * DAY)
    assert (rows(kept, "counters"), rows(kept, "refusals")) == (1, 1)  # the day's
    live(upkeep, clocks, quota.COUNTERS_KEPT["day"] - quota.COUNTERS_KEPT["hour"])
    assert (rows(kept, "counters"), rows(kept, "refusals")) == (0, 0)


def test_replay_locks_go_a_day_after_they_have_run_out(kept: StateFile, clocks: Clocks) -> None:
    use_identity_token(kept, NOW)
    upkeep = Upkeep(kept, clocks)
    live(upkeep, clocks, LOCK_KEPT)
    assert rows(kept, "locks") == 1
    live(upkeep, clocks, 3600)
    assert rows(kept, "locks") == 0


def test_revoked_tokens_are_kept_for_a_day(kept: StateFile, clocks: Clocks) -> None:
    """A token's revocation is removed with the token's row a day after it was made; others stay."""
    revoke_token(kept, NOW)
    SqliteControl(kept).revoke(samples.revocation("principal", "p", at=NOW), samples.event("revocation.made", at=NOW))
    upkeep = Upkeep(kept, clocks)
    live(upkeep, clocks, TOKEN_REVOCATION_KEPT)
    assert rows(kept, "revocations") == 2
    live(upkeep, clocks, 3600)
    assert (rows(kept, "revocations"), rows(kept, "things")) == (1, 1)


@pytest.mark.parametrize("leap", [2 * DAY, 400 * DAY, -2 * DAY, -400 * DAY])
def test_a_leap_of_the_clock_forgets_nothing(kept: StateFile, clocks: Clocks, leap: int) -> None:
    """A wall clock that is wrong for two seconds makes the state forget no revocation, used identity token or counter."""
    upkeep = Upkeep(kept, clocks)
    upkeep.run()
    revoke_token(kept, NOW)
    use_identity_token(kept, NOW)
    SqliteEdgeState(kept).count(samples.calls())
    clocks.go(SWEEP_SECONDS - 2)
    clocks.leap(leap)
    for _ in range(2):
        clocks.go(1)
        upkeep.run()
    clocks.leap(-leap)
    clocks.go(SWEEP_SECONDS)
    upkeep.run()
    assert SqliteControl(kept).revocation_state(TOKEN).blocks
    assert not use_identity_token(kept, NOW)
    assert set(SqliteEdgeState(kept).taken(samples.calls()).values()) == {1}


def test_upkeep_goes_on_while_the_clock_is_behind(kept: StateFile, clocks: Clocks) -> None:
    """A wall clock that was set back does not put off what is due."""
    upkeep = Upkeep(kept, clocks)
    upkeep.run()
    revoke_token(kept, NOW)
    clocks.leap(-400 * DAY)
    clocks.go(SWEEP_SECONDS)
    upkeep.run()
    assert b"token-1" in kept.path.read_bytes()  # not in the write-ahead log only


def test_a_leap_is_said_once(kept: StateFile, clocks: Clocks, caplog: pytest.LogCaptureFixture) -> None:
    upkeep = Upkeep(kept, clocks)
    upkeep.run()
    clocks.leap(2 * DAY)
    with caplog.at_level(logging.WARNING, "keybroker"):
        live(upkeep, clocks, 3 * SWEEP_SECONDS, SWEEP_SECONDS)
    assert [record.message for record in caplog.records] == [
        f'{{"door": "upkeep", "reason": "clock_leapt", "seconds": {2 * DAY - SWEEP_SECONDS}}}'
    ]


def test_a_revocation_made_while_the_clock_was_behind_is_kept(kept: StateFile, clocks: Clocks) -> None:
    upkeep = Upkeep(kept, clocks)
    upkeep.run()
    revoke_token(kept, NOW - 30 * DAY)
    clocks.go(SWEEP_SECONDS)
    upkeep.run()
    assert SqliteControl(kept).revocation_state(TOKEN).blocks


def test_a_restart_sets_no_clock(kept: StateFile, clocks: Clocks) -> None:
    """A wall clock that is wrong when the servers start makes the state forget nothing, on the same boot and after another."""
    Upkeep(kept, clocks).run()
    revoke_token(kept, NOW)
    clocks.leap(20 * DAY)
    Upkeep(kept, clocks).run()
    clocks.reboot(20 * DAY)
    Upkeep(kept, clocks).run()
    assert SqliteControl(kept).revocation_state(TOKEN).blocks


@pytest.mark.slow
def test_records_are_kept_for_good_unless_told(kept: StateFile, clocks: Clocks) -> None:
    """Events stay unless a retention was set, and then for so long, whatever the wall clock says for a moment."""
    SqliteLedger(kept).record(samples.event("keys.read", at=NOW))
    live(Upkeep(kept, clocks), clocks, 20 * DAY, DAY)
    assert rows(kept, "audit") == 1
    SqliteLedger(kept).record(samples.event("keys.read", at=clocks().wall))
    upkeep = Upkeep(kept, clocks, keep=7 * DAY)
    upkeep.run()
    assert rows(kept, "audit") == 1
    clocks.leap(30 * DAY)
    live(upkeep, clocks, DAY)
    clocks.leap(-30 * DAY)
    assert rows(kept, "audit") == 1
    live(upkeep, clocks, 7 * DAY)
    assert rows(kept, "audit") == 0


def test_a_state_file_that_is_away_stops_nothing(
    kept: StateFile, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    upkeep = Upkeep(StateFile(kept.path), clocks)
    kept.path.rename(kept.path.with_name("away"))
    with caplog.at_level(logging.WARNING, "keybroker"):
        upkeep.run()
    assert "state_unavailable" in caplog.text
    kept.path.with_name("away").rename(kept.path)
    clocks.go(SWEEP_SECONDS)
    upkeep.run()
    assert rows(kept, "clock") == 1


def test_upkeep_runs_in_a_thread_of_its_own(kept: StateFile, clocks: Clocks) -> None:
    with Upkeep(kept, clocks).running():
        samples_of_it = [rows(kept, "clock")]
        while samples_of_it[-1] == 0:
            samples_of_it.append(rows(kept, "clock"))
    assert samples_of_it[-1] == 1
