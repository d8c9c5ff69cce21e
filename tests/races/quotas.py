"""What must hold of limits when many come at once, over any store: exactly the limit, each refusal counted as one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chalicelib import quota
from chalicelib.audit import Event
from chalicelib.quota import Limit
from tests.contracts.adapters import Adapters
from tests.contracts.samples import ISSUER, NOW, grant, issuer, put_in_force
from tests.races.actor import Actor, keys_in
from tests.races.acts import Call, Exchange, FaultyCall, FaultyExchange
from tests.races.records import events
from tests.races.stores import Store
from tests.races.together import Together, patient

SUBJECTS = ("build-1", "build-2")
ALL_DAY = Limit(1_000_000, "day")


@dataclass(frozen=True)
class Race:
    """A store with a policy, and how many use it at once. directory: where the key pairs are."""

    store: Store
    directory: Path
    together: Together

    @contextmanager
    def open(self) -> Iterator[Adapters]:
        """Give adapters to the test itself."""
        with self.store.open() as opened:
            yield opened.adapters

    def put_in_force(
        self, *, calls: tuple[Limit, ...] = (ALL_DAY,), issued: tuple[Limit, ...] = (ALL_DAY,), total: int | None = None
    ) -> None:
        """Put one grant in force with these limits, in place of what was."""
        made = grant(calls=calls, issued=issued)
        if total is not None:
            made = made._replace(total_limits=(Limit(total, "day"),))
        with self.open() as adapters:
            adapters.control.list_signing_keys((keys_in(self.directory).broker.kid(),))
            put_in_force(adapters.control, made, issuers=(issuer(single_use=True),))

    def token(self, subject: str = SUBJECTS[0]) -> str:
        """Return a token of the grant as it is now."""
        with self.open() as adapters:
            actor = Actor.over(adapters, keys_in(self.directory))
            return actor.exchange(actor.subject_token(subject, NOW), NOW)

    def counted(self, what: str, *subjects: str, window: str | None = None) -> tuple[int, int]:
        """Return how many were taken and refused, of these subjects together: the same in each window, or in one."""
        names = [quota.EVERYBODY if one == quota.EVERYBODY else f"{ISSUER}|sub:{one}" for one in subjects]
        with self.open() as adapters:
            every = [
                [adapters.counted(one) for one in quota.counters(what, "ci", name, NOW) if window in (None, one.window)]
                for name in names
            ]
        sums = {tuple(map(sum, zip(*of_one_window, strict=True))) for of_one_window in zip(*every, strict=True)}
        [(taken, refused)] = sums
        return taken, refused

    def events(self, kind: str) -> list[Event]:
        """Return every event of a kind."""
        with self.open() as adapters:
            return events(adapters.ledger, kind=kind)


def more_than(limit: int) -> int:
    """Return how many tries press on a limit."""
    return limit + 128


def calls_are_exact(race: Race, limit: int) -> None:
    """Exactly the limit is admitted; once it is raised, exactly the difference."""
    race.put_in_force(calls=(Limit(limit, "day"),))
    act = Call(race.directory, (race.token(),))
    said = race.together(race.store, act, more_than(limit))
    assert (set(said), said["admitted"]) == ({"admitted", "quota_calls"}, limit)
    assert race.counted("calls", "build-1") == (limit, said["quota_calls"])
    race.put_in_force(calls=(Limit(limit + 9, "day"),))
    again = race.together(race.store, act, more_than(9))
    assert (set(again), again["admitted"]) == ({"admitted", "quota_calls"}, 9)
    assert race.counted("calls", "build-1") == (limit + 9, said["quota_calls"] + again["quota_calls"])


def tokens_are_exact(race: Race, limit: int) -> None:
    """Exactly the limit is issued, with one event for each token and each refusal; once raised, the difference."""
    race.put_in_force(issued=(Limit(limit, "day"),))
    said = race.together(race.store, Exchange(race.directory), more_than(limit))
    assert (set(said), said["issued"]) == ({"issued", "quota_tokens"}, limit)
    race.put_in_force(issued=(Limit(limit + 9, "day"),))
    again = race.together(race.store, Exchange(race.directory), more_than(9))
    assert (set(again), again["issued"]) == ({"issued", "quota_tokens"}, 9)
    refused = said["quota_tokens"] + again["quota_tokens"]
    assert race.counted("tokens", "build-1") == (limit + 9, refused)
    issued = race.events("token.issued")
    assert (len(issued), len({one.jti for one in issued})) == (limit + 9, limit + 9)
    assert [one.reason for one in race.events("token.refused")] == ["quota_tokens"] * refused


def a_total_is_exact(race: Race, limit: int) -> None:
    """All principals of a grant together get exactly its total, whenever their tokens were issued."""
    race.put_in_force()
    before = race.token("build-1")
    race.put_in_force(total=limit)
    act = Call(race.directory, (before, race.token("build-1"), race.token("build-2")))
    said = race.together(race.store, act, more_than(limit))
    assert (set(said), said["admitted"]) == ({"admitted", "quota_calls"}, limit)
    assert race.counted("calls", quota.EVERYBODY) == (limit, said["quota_calls"])
    assert race.counted("calls", *SUBJECTS) == (limit, said["quota_calls"])
    race.put_in_force(total=limit + 9)
    again = race.together(race.store, act, more_than(9))
    assert (set(again), again["admitted"]) == ({"admitted", "quota_calls"}, 9)
    refused = said["quota_calls"] + again["quota_calls"]
    assert race.counted("calls", quota.EVERYBODY) == race.counted("calls", *SUBJECTS) == (limit + 9, refused)


def a_lowered_limit_is_exact(race: Race, *, total: bool) -> None:
    """A limit lowered within its window admits what is left of it, wherever those before it were counted; then none."""

    def admitted(limit: int, tries: int) -> int:
        race.put_in_force(total=limit) if total else race.put_in_force(calls=(Limit(limit, "day"),))
        tokens = tuple(race.token(one) for one in (SUBJECTS if total else SUBJECTS[:1]))
        said = race.together(race.store, Call(race.directory, tokens), tries)
        assert set(said) <= {"admitted", "quota_calls"}
        return said["admitted"]

    many = 64
    assert admitted(4 * many, many) == many
    assert [admitted(many + 7, many), admitted(many + 6, many)] == [7, 0]
    assert race.counted("calls", quota.EVERYBODY if total else SUBJECTS[0])[0] == many + 7


def several_limits_are_exact(race: Race) -> None:
    """A minute's, an hour's and a day's limit at once: exactly the least of them is admitted, each refusal counted."""
    race.put_in_force(calls=(Limit(7, "minute"), Limit(7, "hour"), Limit(7, "day")))
    said = race.together(race.store, Call(race.directory, (race.token(),)), more_than(7))
    assert (set(said), said["admitted"]) == ({"admitted", "quota_calls"}, 7)
    assert race.counted("calls", "build-1") == (7, said["quota_calls"])


def own_limit_and_total_are_exact(race: Race) -> None:
    """A principal's own limit and its grant's total at once: exactly the total, no principal beyond its own."""
    race.put_in_force(calls=(Limit(5, "day"),), total=8)
    tokens = tuple(race.token(one) for one in SUBJECTS)
    said = race.together(race.store, Call(race.directory, tokens), more_than(8))
    assert (set(said), said["admitted"]) == ({"admitted", "quota_calls"}, 8)
    assert max(race.counted("calls", one)[0] for one in SUBJECTS) <= 5
    assert race.counted("calls", *SUBJECTS) == race.counted("calls", quota.EVERYBODY) == (8, said["quota_calls"])


def _the_rest_is_admitted(race: Race, act: Call, rest: int) -> None:
    with race.open() as adapters:
        said = [patient(act, adapters) for _ in range(rest + 2)]
    assert said == ["admitted"] * rest + ["quota_calls"] * 2


def calls_never_exceed_when_the_store_fails(race: Race, limit: int) -> None:
    """Whatever fails between counting and giving back costs the caller, not the limit."""
    race.put_in_force(calls=(Limit(limit, "day"),))
    said = race.together(race.store, FaultyCall(race.directory, (race.token(),)), more_than(limit) * 2)
    lost = said["after_wave"] + said["before_give_back"]
    given_back = said["quota_calls"] + said["after_give_back"]
    assert lost + said["after_unheld"] + said["before_refused"] > 0
    assert said["admitted"] <= limit
    assert race.counted("calls", "build-1") == (said["admitted"] + lost, given_back)
    left = max(0, limit - said["admitted"] - lost)
    _the_rest_is_admitted(race, Call(race.directory, (race.token(),)), left)


def tokens_never_exceed_when_the_store_fails(race: Race, limit: int) -> None:
    """A token whose issuance is not known to be written is not handed out, and may have been counted."""
    race.put_in_force(issued=(Limit(limit, "day"),))
    said = race.together(race.store, FaultyExchange(race.directory), more_than(limit) * 2)
    lost = said["after_issue"]
    assert said["before_issue"] > 0
    assert said["issued"] + lost == limit
    assert race.counted("tokens", "build-1") == (limit, said["quota_tokens"])
    assert len(race.events("token.issued")) == limit
    assert len(race.events("token.refused")) == said["quota_tokens"]
