from __future__ import annotations

import pytest

from chalicelib.policy.errors import PolicyChanged
from chalicelib.policy.plan import StoredPolicy
from chalicelib.revocation import RevocationTarget
from local.sqlite import policy_rows
from local.sqlite.control import SqliteControl
from local.sqlite.state_file import StateFile
from tests.contracts import samples

MANY = [samples.grant(f"g{number}") for number in range(1000)]


def written(state: StateFile) -> int:
    with state.reading() as connection:
        return connection.total_changes


def test_an_apply_writes_only_what_it_changes(kept: StateFile) -> None:
    """Calls wait while a policy is written, so one with a thousand grants of which one differs writes a few rows."""
    control = SqliteControl(kept)
    samples.put_in_force(control, *MANY)
    before = written(kept)
    changed = [*MANY[:-2], MANY[-2]._replace(ttl=600)]
    samples.put_in_force(control, *changed)
    assert written(kept) - before <= 6  # policy, event, key; one grant set, one cleared, with its epoch
    assert control.holds(samples.policy(*changed))


def test_two_applies_at_once_have_one_winner(kept: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another apply puts in force between the comparison and the writing makes the comparison worthless: it is refused."""
    control, compare = SqliteControl(kept), policy_rows.changes
    samples.put_in_force(control, *MANY[:2])

    def slow(*arguments: object) -> object:
        found = compare(*arguments)  # type: ignore[arg-type]  # as it was called
        monkeypatch.undo()
        SqliteControl(kept.again()).apply(samples.policy(MANY[2]), "b", 1, samples.event("policy.applied"))
        return found

    monkeypatch.setattr(policy_rows, "changes", slow)
    with pytest.raises(PolicyChanged):
        control.apply(samples.policy(MANY[3]), "a", 1, samples.event("policy.applied"))
    now: StoredPolicy = control.current()
    assert (now.version, now.text) == (2, "b")
    assert control.holds(samples.policy(MANY[2]))
    assert control.revocation_state(RevocationTarget("grant", "g3")).epoch == 0
