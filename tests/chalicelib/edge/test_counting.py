from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from chalicelib.edge.admission import admit
from chalicelib.edge.call import Call
from chalicelib.edge.state import EdgeState, Snapshot
from chalicelib.quota import Counter
from chalicelib.revocation import RevocationTarget
from tests.parts import NOW, SUB, Parts, grant
from tests.refused import refused


class InTheWay:
    """A state where, whenever a call is counted, another that will be refused was counted just before.

    times: how often. then: done once the first of them has given back its numbers.
    """

    def __init__(self, real: EdgeState, times: int, then: Callable[[], object] = lambda: None) -> None:
        self._real, self._left, self._then = real, times, then
        self._pending = False

    def read_and_count(
        self,
        targets: Mapping[str, RevocationTarget],
        counters: tuple[Counter, ...],
        total: tuple[Counter, ...] = (),
        again: str = "",
    ) -> Snapshot:
        if self._left:
            self._left, self._pending = self._left - 1, True
            self.count(counters)
        return self._real.read_and_count(targets, counters, total, again)

    def count(self, counters: tuple[Counter, ...]) -> Mapping[str, int]:
        return self._real.count(counters)

    def give_back(self, counters: tuple[Counter, ...], reason: str, *, held: bool = True) -> int:
        refused = self._real.give_back(counters, reason, held=held)
        if self._pending:
            self._pending = False
            self._real.give_back(counters, "another")
            self._then()
        return refused

    def taken(self, counters: tuple[Counter, ...]) -> Mapping[Counter, int]:
        return self._real.taken(counters)


def attempt_in_the_way(parts: Parts, times: int, then: Callable[[], object] = lambda: None) -> None:
    parts.apply(grant(quota="{tokens: 100/hour, calls: [1/minute, 1/day]}"))
    call = Call(parts.token(), "openai", "POST", "/v1/chat/completions")
    admit(call, replace(parts.edge_parts(), state=InTheWay(parts.edge_state, times, then)), NOW)


def test_room_given_back_by_others(parts: Parts) -> None:
    """A call beyond a limit is admitted if others that were refused have made room."""
    attempt_in_the_way(parts, 1)
    assert set(parts.counted().values()) == {(1, 1)}, "the other one alone was refused"


def test_sixteen_tries(parts: Parts) -> None:
    """A call is counted sixteen times at most."""
    assert refused(lambda: attempt_in_the_way(parts, 16)).reason == "quota_calls"
    assert set(parts.counted().values()) == {(0, 17)}, "sixteen others, and this one once"


def test_revoked_between_tries(parts: Parts) -> None:
    """A revocation between two tries is what the call is refused for."""
    refusal = refused(lambda: attempt_in_the_way(parts, 1, lambda: parts.revoke("principal", SUB)))
    assert refusal.reason == "revoked_principal"
    assert set(parts.counted().values()) == {(0, 2)}
