"""The edge's state in SQLite: `chalicelib.edge.state.EdgeState`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from chalicelib import quota
from chalicelib.edge.state import Counted, Snapshot, Wanted
from chalicelib.errors import Unavailable
from chalicelib.policy.grants import Grant
from chalicelib.providers.keys import KeyConfig
from chalicelib.quota import Counter
from chalicelib.revocation import RevocationState, RevocationTarget
from local.sqlite import counter_rows, target_rows
from local.sqlite.state_file import PATIENT_MS, StateFile
from local.sqlite.target_rows import Row

Rows = Mapping[RevocationTarget, Row]
Targets = Mapping[str, RevocationTarget]
_NONE: Mapping[str, int] = {}


class Numbers(NamedTuple):
    """Which number a call is, by window, among its principal's and among all callers', and whether it is held."""

    own: Mapping[str, int]
    of_all: Mapping[str, int]
    held: bool


class Found(NamedTuple):
    """What the rows of a token's targets say, without any numbers; see `Snapshot`."""

    states: Mapping[str, RevocationState]
    grant: Grant | None
    key: KeyConfig | None
    signing_keys: tuple[str, ...]

    @classmethod
    def of(cls, targets: Targets, rows: Rows) -> Found:
        """Return what they say; raises ValueError or TypeError for a row that cannot be read."""
        return cls(
            {scope: rows[target].state for scope, target in targets.items()},
            rows[targets["grant"]].grant(),
            rows[targets["key"]].key_config(),
            rows[targets["everything"]].signing_keys(),
        )

    def snapshot(self, numbers: Numbers) -> Snapshot:
        """Return what was found for a call."""
        own, of_all, held = numbers
        return Snapshot(self.states, own, of_all, self.grant, self.key, self.signing_keys, held)


class SqliteEdgeState:
    """A round trip is one transaction here: reads, counting and what its limits say see the same moment.

    So a call beyond a limit takes no number, not even until it is given back, and no other call meets it (docs/adr/0005).
    """

    def __init__(self, state: StateFile) -> None:
        self._state = state

    def read_and_count(
        self,
        targets: Targets,
        counters: tuple[Counter, ...],
        total: tuple[Counter, ...] = (),
        again: str = "",
    ) -> Snapshot:
        """See `EdgeState.read_and_count`."""
        with self._state.writing() as connection:
            rows = target_rows.read(connection, targets.values())
            numbers = counter_rows.add_one(connection, counters)
            of_all = counter_rows.add_one(connection, total) if total else {}
            if again:
                counter_rows.take_off_refused(connection, counters + total, again)
            held = _is_within(rows[targets["grant"]].grant(), numbers, of_all)
            if not held:
                counter_rows.take_off(connection, counters + total)
        return Found.of(targets, rows).snapshot(Numbers(numbers, of_all, held))

    def read_and_count_all(self, wanted: Sequence[Wanted]) -> Sequence[Counted]:
        """See `GroupingState.read_and_count_all`."""
        tokens = {id(call.targets): call.targets for call in wanted}  # calls of one token have the very same
        try:
            with self._state.writing() as connection:
                rows = target_rows.read(connection, {one for targets in tokens.values() for one in targets.values()})
                grants = {token: _readable(rows[targets["grant"]]) for token, targets in tokens.items()}
                before = counter_rows.add_each(
                    connection, [each for call in wanted for each in (call.counters, call.total)]
                )
                numbers = _number_each(wanted, grants, before)
                for call, one in zip(wanted, numbers, strict=True):
                    if not one.held:
                        counter_rows.take_off(connection, call.counters + call.total)
        except Unavailable as fault:
            return [fault.with_context() for _ in wanted]
        except Exception:  # noqa: BLE001  of a row that cannot be read: nothing is counted, and whose it is sees it by itself
            return [None] * len(wanted)
        found = {token: _found(targets, rows) for token, targets in tokens.items()}
        return [_counted(found[id(call.targets)], one) for call, one in zip(wanted, numbers, strict=True)]

    def count(self, counters: tuple[Counter, ...]) -> Mapping[str, int]:
        """See `EdgeState.count`."""
        with self._state.writing() as connection:
            return counter_rows.add_one(connection, counters)

    def give_back(self, counters: tuple[Counter, ...], reason: str, *, held: bool = True) -> int:
        """See `EdgeState.give_back`."""
        # Nobody else gives it back: the caller has its answer, and would have lost a call that was refused.
        with self._state.writing(PATIENT_MS) as connection:
            if held:
                counter_rows.take_off(connection, counters)
            counter_rows.add_refused(connection, counters, reason)
            return counter_rows.refused(connection, next(one for one in counters if one.window == "minute"))

    def taken(self, counters: tuple[Counter, ...]) -> Mapping[Counter, int]:
        """See `EdgeState.taken`."""
        with self._state.reading() as connection:
            return counter_rows.taken(connection, counters)


def _is_within(grant: Grant | None, own: Mapping[str, int], of_all: Mapping[str, int]) -> bool:
    """Whether a call of these numbers is within its grant's limits, in so far as it is counted for them."""
    if grant is None:
        return True
    return quota.is_within(grant.call_limits, own) and (not of_all or quota.is_within(grant.total_limits, of_all))


def _number_each(
    wanted: Sequence[Wanted], grants: Mapping[int, Grant | None], before: Mapping[Counter, int]
) -> Sequence[Numbers]:
    """Return what calls' numbers are if each is counted after those before it, and a call beyond a limit not at all."""
    taken = dict(before)
    numbers = []
    for call in wanted:
        own = {one.window: taken[one] + 1 for one in call.counters}
        of_all = {one.window: taken[one] + 1 for one in call.total} if call.total else _NONE
        grant = grants[id(call.targets)]
        held = _is_within(grant, own, of_all)
        numbers.append(Numbers(own, of_all, held))
        if held:
            for counter in call.counters + call.total:
                taken[counter] += 1
    return numbers


def _readable(row: Row) -> Grant | None:
    try:
        return row.grant()
    except Exception:  # noqa: BLE001  the fault of one token's calls, which raise it (`_found`), and not of the others
        return None


def _found(targets: Targets, rows: Rows) -> Found | Exception:
    try:
        return Found.of(targets, rows)
    except Exception as fault:  # noqa: BLE001  the fault of one token's calls, which raise it (CallCount), and not of the others
        return fault


def _counted(found: Found | Exception, numbers: Numbers) -> Counted:
    return found if isinstance(found, Exception) else found.snapshot(numbers)
