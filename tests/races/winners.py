"""What only one of many can have, over any store: a replay, a policy's version, a name's first use."""

from __future__ import annotations

from chalicelib.audit import Query
from tests.contracts.samples import NOW, wanted
from tests.every_event import every_event
from tests.races.actor import Actor, idempotency_key, keys_in
from tests.races.acts import Apply, FirstUse, SameExchange
from tests.races.quotas import Race

TRIES = 128


def _same_exchange(race: Race, idempotency_key: str) -> SameExchange:
    race.put_in_force()
    with race.open() as adapters:
        subject_token = Actor.over(adapters, keys_in(race.directory)).subject_token("build-1", NOW)
    return SameExchange(race.directory, subject_token, idempotency_key)


def a_replay_race_has_one_winner(race: Race) -> None:
    """One identity token, many exchanges: one token; all others are refused and audited as replays."""
    said = race.together(race.store, _same_exchange(race, ""), TRIES)
    replayed = said.pop("replayed")
    [(jti, wins)] = said.items()
    assert (wins, replayed) == (1, TRIES - 1)
    assert [one.jti for one in race.events("token.issued")] == [jti]
    refused = race.events("token.refused")
    assert {one.reason for one in refused} == {"replayed"}
    assert sum(1 + one.repeated for one in refused) == replayed
    assert race.counted("tokens", "build-1") == (1, replayed)


def retries_all_get_one_token(race: Race) -> None:
    """One identity token and one Idempotency-Key, many exchanges: all get one token, counted and audited once."""
    said = race.together(race.store, _same_exchange(race, idempotency_key()), TRIES)
    [(jti, got)] = said.items()
    assert got == TRIES
    assert [one.jti for one in race.events("token.issued")] == [jti]
    assert race.events("token.refused") == []
    assert race.counted("tokens", "build-1") == (1, 0)


def of_many_applies_one_wins(race: Race) -> None:
    """Many policies against one version: one is put in force, whole, with one event."""
    said = race.together(race.store, Apply(), TRIES)
    lost = said.pop("policy_changed")
    [(text, wins)] = said.items()
    assert (wins, lost) == (1, TRIES - 1)
    with race.open() as adapters:
        assert (adapters.control.current().version, adapters.control.current().text) == (1, text)
        assert [one.name for one, _ in adapters.ledger.find(wanted()).grants or ()] == [text]
        assert len(every_event(adapters.ledger, Query())) == 1


def of_many_first_uses_one_binds(race: Race) -> None:
    """Many unique ids for one name: the first binds it, and nothing is issued to any other."""
    said = race.together(race.store, FirstUse(), TRIES)
    refused = said.pop("identity_changed")
    [wins] = said.values()
    assert (wins, refused) == (1, TRIES - 1)
    assert len(race.events("token.issued")) == 1
    assert race.counted("tokens", "build-1") == (1, 0)
