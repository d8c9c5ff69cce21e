"""What each principal did in some minutes, from its counters, in a bounded number of reads."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from chalicelib.admin import unusual
from chalicelib.admin.watching import Seen
from chalicelib.aws.counter_items import CounterItem, items, key_of
from chalicelib.aws.dynamodb import Tables, as_unavailable, read_partition, read_query, run_parallel
from chalicelib.aws.items import Item, held, number, text
from chalicelib.aws.own_usage import Found
from chalicelib.aws.usage import INDEX, DynamoUsage
from chalicelib.quota import EVERYBODY, WINDOWS, counters, read_cursor_key
from chalicelib.usage import window_start

AT_ONCE = 200
"""Principals under a grant that are read together."""
COMPARED = 20
"""Principals that are compared with what they did before: the busiest of this hour."""
LOOKED_UP = 100
"""Principals of whom is looked up whether they ever had a key."""
BACK = (1, 2, 3)
"""Days back to the same hours: so long the counts of hours are kept. Those of days go further back."""
_DAY, _HOUR = WINDOWS["day"], WINDOWS["hour"]
_WEEKS = 35 * _DAY
_Pair = tuple[str, str]


class Reading(NamedTuple):
    """unread: how many principals, or histories of them, were more than are read; at least, since nobody counts them."""

    seen: tuple[Seen, ...]
    unread: int


class DynamoWatched:
    """Over the `ledger` and `counters` tables. most: principals under a grant that are read."""

    def __init__(self, tables: Tables, most: int) -> None:
        self._tables, self._most = tables, most
        self._usage = DynamoUsage(tables)

    def read(self, minutes: Sequence[int]) -> Reading:
        """Return who called in these minutes, all of one hour, by their starts (epoch seconds); raises Unavailable."""
        pairs = self._listed(minutes[-1])
        seen: list[Seen] = []
        for start in range(0, min(len(pairs), self._most), AT_ONCE):
            seen += self._counted(pairs[start : min(start + AT_ONCE, self._most)], minutes)
        compared = self._compared(seen, minutes[0])
        begun = [(one.principal, one.key) for one in compared if one.first]
        known = {*self._known(begun[:LOOKED_UP], minutes[0]), *begun[LOOKED_UP:]}
        known |= self._called_today(
            [one for one in compared if one.first and (one.principal, one.key) not in known], minutes[0]
        )
        found = [replace(one, first=one.first and (one.principal, one.key) not in known) for one in compared]
        return Reading(tuple(found), max(len(pairs) - self._most, 0) + len(begun[LOOKED_UP:]))

    def _listed(self, now: int) -> list[_Pair]:
        """Return those who were issued a token today, or just before midnight; one more than are read, if there are."""
        day = window_start("day", now)
        days = [day] if now - day > 2 * _HOUR else [day, day - _DAY]  # a token lives an hour at most
        found: dict[_Pair, None] = {}
        for at in days:
            found |= dict.fromkeys(self._of_day(at))
        return [pair for pair in found if pair[0] != EVERYBODY]

    def _of_day(self, day: int) -> list[_Pair]:
        places: list[str] = []
        start: dict[str, Any] = {}
        while len(places) <= self._most:
            with as_unavailable():
                answer = self._tables.client.query(
                    TableName=self._tables.ledger,
                    IndexName=INDEX,
                    KeyConditionExpression="listed = :day",
                    ExpressionAttributeValues={":day": {"S": f"day#{day}"}},
                    Limit=self._most + 1 - len(places),
                    **start,
                )
            places += [text(item, "place") for item in held(answer, "Items")]
            if "LastEvaluatedKey" not in answer:
                break
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
        return [read_cursor_key(place) for place in places]

    def _counted(self, pairs: Sequence[_Pair], minutes: Sequence[int]) -> list[Seen]:
        """Return those of some who called; `first` is set where it may be so."""
        hours = {pair: _hour(pair, minutes[0]) for pair in pairs}
        found = self._usage.read([hours[pair].key] for pair in pairs)
        active = [one for pair in pairs if (one := _of_minutes(pair, minutes, found))]
        labels = self._usage.read(_labels(one, minutes[0]) for one in active)
        return [_labelled(one, minutes[0], found, labels) for one in active]

    def _compared(self, seen: Sequence[Seen], now: int) -> list[Seen]:
        """Return everybody, the busiest of this hour with what an hour of theirs had before."""
        busy = sorted((one for one in seen if one.hour >= unusual.LEAST), key=lambda one: -one.hour)[:COMPARED]
        before = {(one.principal, one.grant): _same_hours(one, now) for one in busy}
        hours = self._usage.read(before.values())
        days = _parallel([functools.partial(self._days, one, now) for one in busy])
        usual = {
            pair: unusual.usual((number(_at(hours, key), "h") for key in keys), day)
            for (pair, keys), day in zip(before.items(), days, strict=True)
        }
        return [replace(one, usual=usual.get((one.principal, one.grant))) for one in seen]

    def _days(self, one: Seen, now: int) -> list[int]:
        """Return how many calls each whole day had, of those that are kept."""
        today = window_start("day", now)
        return self._range(one, "day", today - _WEEKS, today - _DAY)

    def _range(self, one: Seen, window: str, start: int, end: int) -> list[int]:
        """Return the calls of each hour or day from one to another, with both."""
        first, last = (key_of("calls", one.grant, one.principal, window, at) for at in (start, end))
        query = {
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last",
            "ExpressionAttributeValues": {":pk": last["pk"], ":first": first["sk"], ":last": last["sk"]},
        }
        return [number(item, window[0]) for item in read_query(self._tables, self._tables.counters, query)]

    def _known(self, wanted: Sequence[_Pair], now: int) -> set[_Pair]:
        """Return those of some principals and keys of whom a token of an earlier day is known."""
        principals = list(dict.fromkeys(principal for principal, _ in wanted))
        found = _parallel([functools.partial(self._keys_before, one, now) for one in principals])
        return {(principal, key) for principal, keys in zip(principals, found, strict=True) for key in keys}

    def _called_today(self, seen: Sequence[Seen], now: int) -> set[_Pair]:
        """Return those of some principals, with their keys, who called in an earlier hour of this day."""
        hours = _parallel([functools.partial(self._earlier_hours, one, now) for one in seen])
        return {(one.principal, one.key) for one, calls in zip(seen, hours, strict=True) if any(calls)}

    def _earlier_hours(self, one: Seen, now: int) -> list[int]:
        day, hour = window_start("day", now), window_start("hour", now)
        return self._range(one, "hour", day, hour - _HOUR) if day < hour else []

    def _keys_before(self, principal: str, now: int) -> set[str]:
        today = window_start("day", now)
        rows = read_partition(self._tables, self._tables.ledger, f"tokens#{principal}", "day#")
        return {text(row, "key") for row in rows if int(text(row, "sk").split("#")[1]) < today}


def _parallel(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make calls some at once, so that each round has its second."""
    return [one for start in range(0, len(calls), 16) for one in run_parallel(*calls[start : start + 16])]


def _hour(pair: _Pair, at: int) -> CounterItem:
    return items(counters("calls", pair[1], pair[0], at))[0]


def _of_minutes(pair: _Pair, minutes: Iterable[int], found: Found) -> Seen | None:
    calls, hour = 0, 0
    refused: Counter[str] = Counter()
    for at in minutes:
        item = _hour(pair, at)
        stored = _at(found, item.key)
        numbers = item.numbers(stored)
        calls, hour = calls + numbers["minute"], numbers["hour"]
        refused.update(item.refused(stored, "minute"))
    return Seen(pair[0], pair[1], "", calls, dict(refused), hour) if calls or refused else None


def _labels(one: Seen, now: int) -> list[Mapping[str, Any]]:
    """Return the keys of a principal's items that name its key, of today and yesterday."""
    today = window_start("day", now)
    return [key_of("tokens", one.grant, one.principal, "day", at) for at in (today, today - _DAY)]


def _labelled(one: Seen, now: int, found: Found, labels: Found) -> Seen:
    today, yesterday = (_at(labels, key) for key in _labels(one, now))
    key = text(today or yesterday, "key")
    # By what was before, which is settled: what is counted meanwhile may be given back.
    before = _of_minutes((one.principal, one.grant), range(window_start("hour", now), now, 60), found)
    has_begun = one.calls > 0 and not (before and before.calls)
    return replace(one, key=key, first=has_begun and bool(key) and text(yesterday, "key") != key)


def _same_hours(one: Seen, now: int) -> list[Mapping[str, Any]]:
    hour = window_start("hour", now)
    return [key_of("calls", one.grant, one.principal, "hour", hour - back * _DAY) for back in BACK]


def _at(found: Found, key: Mapping[str, Any]) -> Item:
    return found.get((key["pk"]["S"], key["sk"]["S"]), {})
