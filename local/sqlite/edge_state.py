"""The edge's state in SQLite: `chalicelib.edge.state.EdgeState`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat

from chalicelib.edge.state import Counted, Snapshot, Wanted
from chalicelib.errors import Unavailable
from chalicelib.quota import Counter
from chalicelib.revocation import RevocationTarget
from local.sqlite import counter_rows, target_rows
from local.sqlite.state_file import PATIENT_MS, StateFile
from local.sqlite.target_rows import Row

Rows = Mapping[RevocationTarget, Row]


class SqliteEdgeState:
    """A round trip is one transaction here: reads and counting see the same moment."""

    def __init__(self, state: StateFile) -> None:
        self._state = state

    def read_and_count(
        self,
        targets: Mapping[str, RevocationTarget],
        counters: tuple[Counter, ...],
        total: tuple[Counter, ...] = (),
        again: str = "",
    ) -> Snapshot:
        """See `EdgeState.read_and_count`."""
        with self._state.writing() as connection:
            found = target_rows.read(connection, targets.values())
            numbers = counter_rows.add_one(connection, counters)
            of_all = counter_rows.add_one(connection, total) if total else {}
            if again:
                counter_rows.take_off_refused(connection, counters + total, again)
        return _snapshot(targets, found, numbers, of_all)

    def read_and_count_all(self, wanted: Sequence[Wanted]) -> Sequence[Counted]:
        """See `GroupingState.read_and_count_all`."""
        try:
            with self._state.writing() as connection:
                found = target_rows.read(connection, {one for call in wanted for one in call.targets.values()})
                numbers = counter_rows.add_each(connection, [call.counters for call in wanted])
                of_all = counter_rows.add_each(connection, [call.total for call in wanted])
        except Unavailable as fault:
            return [fault.with_context() for _ in wanted]
        except Exception:  # noqa: BLE001  of a row that cannot be read: nothing is counted, and whose it is sees it by itself
            return [None] * len(wanted)
        return [_counted(*one) for one in zip(wanted, repeat(found), numbers, of_all, strict=False)]

    def count(self, counters: tuple[Counter, ...]) -> Mapping[str, int]:
        """See `EdgeState.count`."""
        with self._state.writing() as connection:
            return counter_rows.add_one(connection, counters)

    def give_back(self, counters: tuple[Counter, ...], reason: str) -> int:
        """See `EdgeState.give_back`."""
        # Nobody else gives it back: the caller has its answer, and would have lost a call that was refused.
        with self._state.writing(PATIENT_MS) as connection:
            counter_rows.take_off(connection, counters)
            counter_rows.add_refused(connection, counters, reason)
            return counter_rows.refused(connection, next(one for one in counters if one.window == "minute"))

    def taken(self, counters: tuple[Counter, ...]) -> Mapping[Counter, int]:
        """See `EdgeState.taken`."""
        with self._state.reading() as connection:
            return counter_rows.taken(connection, counters)


def _counted(wanted: Wanted, found: Rows, numbers: Mapping[str, int], total: Mapping[str, int]) -> Counted:
    try:
        return _snapshot(wanted.targets, found, numbers, total)
    except Exception as fault:  # noqa: BLE001  the fault of one call, which raises it (CallCount), and not of the others
        return fault


def _snapshot(
    targets: Mapping[str, RevocationTarget], found: Rows, numbers: Mapping[str, int], total: Mapping[str, int]
) -> Snapshot:
    rows = {scope: found[target] for scope, target in targets.items()}
    return Snapshot(
        {scope: row.state for scope, row in rows.items()},
        numbers,
        total,
        grant=rows["grant"].grant(),
        key=rows["key"].key_config(),
        signing_keys=rows["everything"].signing_keys(),
    )
